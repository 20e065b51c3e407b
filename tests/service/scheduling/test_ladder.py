"""The ladder: its rules on a clock that stands still, and its promises under load on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import QueueFull, ServiceError
from service.scheduling.admission import Admission
from service.scheduling.batcher import BatchLimits, Job
from service.scheduling.costs import CostModel
from service.scheduling.ladder import MIN_SAVING, Ladder, applied_rung, useful_rungs
from service.scheduling.request_queue import WAIT_SAFETY_FACTOR, RequestQueue

WINDOW: Final = Ladder.WINDOW_SECONDS


class Still:
    """A ladder of three rungs below 0 on one taker, whose clock and wait are set by hand; its target is 1 s."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wait = 0.0
        self.ladder = Ladder(3, 1.0, 1, lambda: self.wait, lambda: self.now)

    def choose(self, wait: float = 0.0, elapsed: float = 0.0, seconds: Sequence[float] = (0.4, 0.3, 0.2, 0.1)) -> int:
        self.wait = wait / WAIT_SAFETY_FACTOR
        return self.ladder.choose(seconds, elapsed)


class TestTheChoice:
    @pytest.mark.parametrize(
        ("wait", "elapsed", "rung"),
        [(0.0, 0.0, 0), (0.59, 0.0, 0), (0.61, 0.0, 1), (0.59, 0.02, 1), (0.75, 0.0, 2), (0.85, 0.0, 3), (9.0, 0.0, 3)],
    )
    def test_is_the_first_rung_that_is_in_time_and_the_last_if_none_is(
        self, wait: float, elapsed: float, rung: int
    ) -> None:
        assert Still().choose(wait, elapsed) == rung

    def test_is_the_last_rung_where_the_wait_takes_most_of_the_time_to_the_deadline(self) -> None:
        still = Still()
        seconds = (0.4, 0.3, 0.2, 0.1)
        still.wait = 0.3 / WAIT_SAFETY_FACTOR
        assert still.ladder.choose(seconds, 0.0, patience=0.3 / Ladder.NEAR + 0.01) == still.ladder.rung == 0
        assert still.ladder.choose(seconds, 0.0, patience=0.3 / Ladder.NEAR - 0.01) == 3
        assert still.ladder.rung == 1

    def test_makes_the_next_rung_the_present_one_for_the_images_behind(self) -> None:
        still = Still()
        assert [still.choose(wait) for wait in (0.0, 0.75, 0.0)] == [0, 2, 1]
        assert still.ladder.rung == 1

    def test_changes_the_present_rung_once_in_the_time_of_the_target(self) -> None:
        still, seen = Still(), []
        for _ in range(12):
            assert still.choose(9.0) == 3
            seen.append(still.ladder.rung)
            still.now += 0.3
        assert seen == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]

    @pytest.mark.parametrize(("wait", "elapsed"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.7)])
    def test_of_an_image_that_is_late_by_itself_holds_for_that_image_only(self, wait: float, elapsed: float) -> None:
        still = Still()
        assert still.choose(wait, elapsed, (4.0, 3.0, 2.0, 0.2)) == 3
        assert still.ladder.rung == 0

    def test_passes_over_rungs_that_are_not_faster(self) -> None:
        still = Still()
        assert still.choose(0.65, seconds=(0.4, 0.39, 0.5, 0.3)) == still.ladder.rung == 3
        assert still.choose(seconds=(0.4, 0.39, 0.5, 0.39)) == 0  # none of them pays for this image
        assert still.choose(seconds=(0.4, 0.2, 0.3, 0.3)) == 1  # the present rung would be slower

    @given(st.lists(st.floats(1e-3, 10), min_size=2, max_size=6), st.floats(0, 20), st.floats(0, 20), st.integers(0, 9))
    def test_never_is_a_rung_that_does_not_pay(
        self, seconds: list[float], wait: float, elapsed: float, before: int
    ) -> None:
        clock = itertools.count(0, 5)
        ladder = Ladder(len(seconds) - 1, 5.0, 2, lambda: wait, lambda: float(next(clock)))
        for _ in range(before):
            ladder.choose([1.0 / (1 + rung) for rung in range(len(seconds))], 0.0)
        chosen = ladder.choose(seconds, elapsed)
        above = useful_rungs(seconds)[: useful_rungs(seconds).index(chosen)]
        assert all(seconds[chosen] <= (1 - MIN_SAVING) * seconds[rung] for rung in above)

    def test_useful_rungs_save_a_share_of_the_time_each(self) -> None:
        assert useful_rungs([1.0, 0.96, 0.94, 0.94, 0.5]) == [0, 2, 4]
        assert useful_rungs([1.0, 1.0, 1.7]) == [0]
        assert [applied_rung([0, 2], rung) for rung in range(4)] == [0, 0, 2, 2]

    @pytest.mark.parametrize(("rungs", "target"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
    def test_needs_a_rung_and_a_target(self, rungs: int, target: float) -> None:
        with pytest.raises(ValueError, match="a ladder needs"):
            Ladder(rungs, target, 1, lambda: 0.0, lambda: 0.0)


class TestTheWayBack:
    def down(self) -> Still:
        still = Still()
        for _ in range(3):
            still.choose(9.0)
            still.now += 1.0
        still.wait, still.now = 0.0, still.now - 1.0
        assert still.ladder.rung == 3
        return still

    def test_takes_a_window_a_rung(self) -> None:
        still = self.down()
        seen = []
        for _ in range(5):
            still.now += WINDOW - 0.001
            seen.append(still.ladder.rung)
            still.now += 0.001
            seen.append(still.ladder.rung)
        assert seen == [3, 2, 2, 1, 1, 0, 0, 0, 0, 0]

    def test_leads_all_the_way_where_no_one_asked_for_long(self) -> None:
        still = self.down()
        still.now += 3 * WINDOW
        assert still.choose() == 0

    def test_is_barred_by_a_wait_that_is_long_still(self) -> None:
        still = self.down()
        still.wait, still.now = 1.01 * Ladder.CALM / WAIT_SAFETY_FACTOR, still.now + WINDOW
        assert still.ladder.rung == 3
        still.wait, still.now = 0.99 * Ladder.CALM / WAIT_SAFETY_FACTOR, still.now + WINDOW
        assert still.ladder.rung == 2

    @pytest.mark.parametrize(("share", "rung"), [(0.78, 2), (0.82, 3)])
    def test_is_barred_by_a_load_that_the_rung_above_has_no_room_for(self, share: float, rung: int) -> None:
        still = self.down()
        still.now += 0.01
        images = round(share * WINDOW / 0.2)
        for _ in range(images):
            assert still.choose() == 3  # takes 0.1 s, and would take 0.2 at the rung above
        still.now += WINDOW
        assert still.ladder.rung == rung

    def test_counts_images_that_have_no_choice(self) -> None:
        still = self.down()
        still.ladder.count(0.81 * WINDOW)
        still.now += WINDOW
        assert still.ladder.rung == 3

    def test_counts_of_each_image_the_rungs_that_it_uses(self) -> None:
        still = self.down()
        for _ in range(100):
            assert still.choose(seconds=(0.1, 0.2, 0.2, 0.2)) == 0
        still.now += WINDOW
        assert still.ladder.rung == 2


STREAMS: Final = 2
SHARES: Final = (1.0, 0.72, 0.5)
"""Time of an image at each of three rungs; its pixels shrink by as much."""
SECONDS: Final = {(700, 900): 0.4, (700, 1200): 0.6}
"""Time of the images that come, by height and width at rung 0."""
MEAN: Final = sum(SECONDS.values()) / len(SECONDS)
TARGET: Final = 3.0


class Played:
    """Poisson arrivals at a queue with its admission and cost model, with or without a ladder.

    Inference takes what `SECONDS` and `SHARES` say, give or take a tenth. `rungs` counts the images by their rung,
    `changes` are the times at which the present rung was another, `late` and `in_time` count answers by the target.
    """

    def __init__(self, shares: Sequence[float] | None, seed: int = 0, deadline: float = TARGET) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.deadline = deadline
        self.costs = CostModel()
        self.costs.assume(700 * 700, 0.35)
        self.shares = shares or (1.0,)
        self.queue: RequestQueue[tuple[float, float], object] = RequestQueue(
            BatchLimits(1, 10**9, 0), 128, self, lambda: self.now, self.costs, STREAMS
        )
        self.admission = Admission(lambda: None, self.queue, 256, lambda count: None, lambda: self.now)
        self.ladder = shares and Ladder(len(shares) - 1, TARGET, STREAMS, self.queue.wait, lambda: self.now)
        self.rungs: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.changes: list[tuple[float, int]] = []
        self.waiting = 0
        self.running: list[tuple[float, int, Job[tuple[float, float], object]]] = []
        self.free = list(range(STREAMS))
        self.at = 0.0

    def on_queue_depth(self, n: int) -> None:
        self.waiting = n

    @property
    def rung(self) -> int:
        return self.ladder.rung if self.ladder else 0

    def play(self, seconds: float, load: float) -> Counter[str]:
        """Let images arrive for so long at `load` times what the streams can do at rung 0; count since the start."""
        end, before = self.at + seconds, Counter(self.counts)
        at = self.at
        while (at := at + self.rng.expovariate(load * STREAMS / MEAN)) < end:
            self.finish_until(at)
            self.now = at
            self.counts["offered"] += 1
            self.arrive(*self.rng.choice(list(SECONDS)))
            self.start()
            if self.rung != (self.changes[-1][1] if self.changes else 0):
                self.changes.append((self.now, self.rung))
        self.at = end
        return self.counts - before

    def arrive(self, height: int, width: int) -> None:
        arrival, deadline, under_way = self.now, self.now + self.deadline, ExitStack()

        def done(answer: object) -> None:
            under_way.close()
            if isinstance(answer, ServiceError):
                self.counts["expired"] += 1
            else:
                self.counts["in time" if self.now - arrival <= TARGET else "late"] += 1

        try:
            under_way.enter_context(self.admission.admit(deadline))
            rung = self.choose(height, width)
            pixels = round(self.shares[rung] * height)
            item = (self.shares[rung] * SECONDS[height, width], deadline)
            self.queue.put(Job(item, "auto", pixels, width, self.now, deadline, done))
        except QueueFull:
            under_way.close()
            self.counts["refused"] += 1
        else:
            self.rungs[rung] += 1

    def choose(self, height: int, width: int) -> int:
        if not self.ladder:
            return 0
        present = self.ladder.rung
        unit = self.costs.predict("auto", round(self.shares[present] * height) * width) / self.shares[present]
        return self.ladder.choose([unit * share for share in self.shares], 0.0, self.deadline)

    def start(self) -> None:
        for job in [job for job in self.queue._waiting if job.expired(self.now)]:
            self.queue.expire(job)
        while self.free and self.waiting:
            taker = self.free.pop()
            (job,) = self.queue.take(taker) or []
            took = job.item[0] * self.rng.uniform(0.9, 1.1)
            heapq.heappush(self.running, (self.now + took, taker, job))
            job.seconds = took

    def finish_until(self, time: float) -> None:
        while self.running and self.running[0][0] <= time:
            self.now, taker, job = heapq.heappop(self.running)
            self.costs.record(job.key, [job.pixels], job.seconds)
            job.done(None)
            self.queue._occupy(taker, [], self.now)  # what the next `take` does, which would block
            self.free.append(taker)
            self.start()


@pytest.mark.parametrize("load", [1.3, 1.5, 1.9])
def test_more_is_answered_in_time_under_overload_than_without_a_ladder(load: float) -> None:
    without, with_ladder = Played(None).play(400, load), Played(SHARES).play(400, load)
    assert with_ladder["in time"] > 0.95 * with_ladder["offered"]
    assert with_ladder["in time"] > 1.25 * without["in time"]
    assert with_ladder["refused"] < 0.02 * with_ladder["offered"] < without["refused"]


def test_beyond_the_last_rung_the_rest_is_refused_and_as_many_are_answered_as_it_can_do() -> None:
    without, with_ladder = Played(None).play(400, 4.0), Played(SHARES).play(400, 4.0)
    assert with_ladder["refused"] > 0.4 * with_ladder["offered"]
    assert with_ladder["in time"] > 1.6 * without["in time"]


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_a_deadline_shorter_than_the_target_comes_after_the_ladder(share: float) -> None:
    without, with_ladder = (Played(shares, deadline=share * TARGET).play(400, 1.5) for shares in (None, SHARES))
    assert with_ladder["in time"] > 0.9 * with_ladder["offered"] > 1.3 * without["in time"]


def test_without_a_ladder_and_with_the_usual_deadline_hardly_anything_is_in_time() -> None:
    without, with_ladder = Played(None, deadline=30.0).play(400, 1.5), Played(SHARES, deadline=30.0).play(400, 1.5)
    assert without["in time"] < 0.2 * without["offered"]
    assert with_ladder["in time"] > 0.9 * with_ladder["offered"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.35))
def test_nothing_is_made_cheaper_at_low_load(seed: int, load: float) -> None:
    played = Played(SHARES, seed)
    counts = played.play(200, load)
    assert set(played.rungs) <= {0}
    assert counts["in time"] >= counts["offered"] - STREAMS - played.waiting - len(played.running)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("load", [0.85, 1.0, 1.3, 2.2])
def test_a_steady_load_changes_the_rung_a_few_times_only(load: float, seed: int) -> None:
    played = Played(SHARES, seed)
    played.play(100, load)
    settled = len(played.changes)
    played.play(600, load)
    assert len(played.changes) - settled <= 10, played.changes  # one a minute, at any load


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.2, 5.0), st.floats(0.05, 0.35))
def test_it_recovers_when_the_load_goes(seed: int, high: float, low: float) -> None:
    played = Played(SHARES, seed)
    played.play(100, high)
    assert played.rung > 0
    played.play((len(SHARES) + 1) * WINDOW, low)
    assert played.rung == 0
    cheap = sum(count for rung, count in played.rungs.items() if rung)
    played.play(100, low)
    assert sum(count for rung, count in played.rungs.items() if rung) == cheap


def test_a_rung_that_saves_nothing_is_never_used() -> None:
    played = Played((1.0, 1.3, 0.97))
    played.play(100, 2.0)
    assert set(played.rungs) == {0}
