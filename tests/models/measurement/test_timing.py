import time

import pytest
import torch

from models.measurement.timing import clock, clock_name, interleaved

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    """Return a function that sets PyTorch's threads until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_calls_take_turns_and_the_first_round_warms_up():
    order = []
    timings = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, CPU, 3)
    assert order == ["a", "b"] * 4
    assert list(timings) == ["a", "b"]
    assert all(0 <= one.low <= one.median <= one.high for one in timings.values())


def test_a_pause_comes_before_each_call(monkeypatch):
    order = []
    monkeypatch.setattr(time, "sleep", order.append)
    interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, CPU, 2, 0.5)
    assert order == [0.5, "a", 0.5, "b"] * 3


@pytest.mark.parametrize(
    ("count", "function", "name"), [(1, time.process_time, "processor time"), (2, time.perf_counter, "elapsed")]
)
def test_clock_depends_on_the_number_of_threads(threads, count, function, name):
    threads(count)
    assert clock(CPU) is function
    assert clock_name(CPU).startswith(name)
