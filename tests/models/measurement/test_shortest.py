"""The shortest of repeated timings, on a clock of its own."""

from functools import partial
from itertools import chain, repeat

import pytest

from models.measurement.shortest import ATTEMPTS, MAX_ROUNDS, shortest_times


class Machine:
    """A clock that only calls move, each by what its script says next; the warm-up takes a day."""

    def __init__(self, **scripts):
        self.now = 0.0
        self.order = []
        self.scripts = {name: chain([86_400.0], script) for name, script in scripts.items()}
        self.calls = {name: partial(self.call, name) for name in scripts}

    def call(self, name):
        self.order.append(name)
        self.now += next(self.scripts[name])

    def measure(self, rounds=3):
        return shortest_times(self.calls, lambda: self.now, seconds_in_all=0.0, least_rounds=rounds)


def test_the_shortest_round_after_the_warm_up_counts_and_all_take_turns():
    machine = Machine(a=[9, 2, 2.1], b=[4.4, 8, 4])
    shortest = machine.measure()
    assert (shortest.seconds, shortest.agree) == ({"a": 2, "b": 4}, True)
    assert machine.order == ["a", "b"] * 4


def test_one_undisturbed_pair_is_enough(caplog):
    machine = Machine(a=repeat(1.0), b=chain([37, 37 * 2, 37 * 3], [1.1, 1.0, 50]))
    shortest = machine.measure()
    assert (shortest.seconds, shortest.agree) == ({"a": 1.0, "b": 1.0}, True)
    assert len(machine.order) == 2 * (1 + 2 * 3)  # measured again once, side by side
    assert not caplog.records


def test_earlier_repeats_still_count():
    machine = Machine(a=[1.0, 37, 74, 1.2, 40, 50])
    assert machine.measure().agree
    assert len(machine.order) == 1 + 2 * 3


def test_repeats_that_never_agree_are_measured_a_bounded_number_of_times(caplog):
    machine = Machine(a=(2.0**n for n in range(100)), b=repeat(1.0))
    shortest = machine.measure()
    assert not shortest.agree
    assert shortest.seconds == {"a": 1.0, "b": 1.0}
    assert len(machine.order) == 2 * (1 + ATTEMPTS * 3)
    assert "repeats of 1 of 2 timings disagree" in caplog.text


def test_no_more_rounds_than_are_useful():
    machine = Machine(a=repeat(1.0))
    shortest_times(machine.calls, lambda: machine.now, seconds_in_all=3600.0, least_rounds=2)
    assert len(machine.order) == 1 + MAX_ROUNDS


@pytest.mark.parametrize("least_rounds", [2, 5])
def test_as_many_rounds_as_there_have_to_be(least_rounds):
    machine = Machine(a=repeat(0.0))  # a clock too coarse for the call
    assert machine.measure(least_rounds).agree
    assert len(machine.order) == 1 + least_rounds
