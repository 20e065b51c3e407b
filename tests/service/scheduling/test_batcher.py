"""The batcher on a clock that the tests turn: examples, then random arrivals played to the end."""

import itertools
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduling.batcher import BatchLimits, Job, MemoryCaps, Wait, next_batch, padded_size, padding_ratio

ROOMY = BatchLimits(max_images=8, max_pixels=10**9, max_delay=0)


def job(
    item: int = 0,
    key: Hashable = "exact",
    size: tuple[int, int] = (10, 10),
    arrival: float = 0.0,
    deadline: float | None = None,
    seconds: float = 0.0,
) -> Job[int, object]:
    return Job(item, key, *size, arrival, deadline, done=lambda answer: None, seconds=seconds)


def plan(
    jobs: list[Job[int, object]],
    limits: BatchLimits = ROOMY,
    now: float = 0.0,
    caps: MemoryCaps | None = None,
) -> list[int] | Wait:
    batch = next_batch(jobs, now, limits, caps or MemoryCaps())
    return batch if isinstance(batch, Wait) else [job.item for job in batch]


class TestLimits:
    @pytest.mark.parametrize(
        ("images", "pixels", "delay"), [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, math.inf), (1, 1, math.nan)]
    )
    def test_values_without_meaning_are_refused(self, images: int, pixels: int, delay: float) -> None:
        with pytest.raises(ValueError, match=r"batch|max_delay"):
            BatchLimits(images, pixels, delay)

    @pytest.mark.parametrize("seconds", [0, -1, math.nan])
    def test_a_batch_without_time_is_refused(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="time"):
            BatchLimits(1, 1, 0, seconds)


class TestPadding:
    def test_padding_is_to_the_tallest_and_the_widest(self) -> None:
        jobs = [job(size=(10, 40)), job(size=(20, 10))]
        assert padded_size(jobs) == (20, 40)
        assert padding_ratio(jobs) == 1 - (400 + 200) / (20 * 40 * 2)

    def test_padding_is_zero_for_equal_sizes(self) -> None:
        assert padding_ratio([job(size=(3, 7)), job(size=(3, 7)), job(size=(3, 7))]) == 0


class TestComposition:
    def test_the_oldest_and_all_that_share_its_key(self) -> None:
        assert plan([job(0, "act"), job(1, "exact"), job(2, "act")]) == [0, 2]

    def test_at_most_max_pixels_once_padded(self) -> None:
        tall, wide = job(0, size=(10, 20)), job(1, size=(20, 10))
        assert plan([tall, wide], BatchLimits(8, 2 * 20 * 20, 0)) == [0, 1]
        assert plan([tall, wide], BatchLimits(8, 2 * 20 * 20 - 1, 0)) == [0]

    def test_padding_is_to_all_of_the_batch(self) -> None:
        small, tall, wide = job(0, size=(10, 10)), job(1, size=(30, 10)), job(2, size=(10, 30))
        assert plan([small, tall, wide], BatchLimits(8, 3 * 30 * 30, 0)) == [0, 1, 2]
        assert plan([small, tall, wide], BatchLimits(8, 3 * 30 * 30 - 1, 0)) == [0, 1]

    def test_an_image_larger_than_the_budget_runs_alone(self) -> None:
        assert plan([job(0, size=(100, 100)), job(1, size=(1, 1))], BatchLimits(8, 50, 0)) == [0]

    def test_an_image_that_does_not_fit_lets_smaller_ones_join(self) -> None:
        jobs = [job(0, size=(10, 10)), job(1, size=(30, 30)), job(2, size=(9, 10))]
        assert plan(jobs, BatchLimits(8, 250, 0)) == [0, 2]

    def test_at_most_max_seconds(self) -> None:
        limits = BatchLimits(8, 10**9, 0, max_seconds=0.5)
        jobs = [job(0, seconds=0.1), job(1, seconds=0.8), job(2, seconds=0.3), job(3, seconds=0.2)]
        assert plan(jobs, limits) == [0, 2]
        assert plan(jobs[1:], limits) == [1]  # the oldest runs, however long it takes

    def test_those_that_need_the_least_padding_join_first(self) -> None:
        portrait, landscape = (20, 10), (10, 20)
        jobs = [job(0, size=portrait), job(1, size=landscape), job(2, size=portrait), job(3, size=(19, 10))]
        assert plan(jobs, BatchLimits(3, 10**9, 0)) == [0, 2, 3]


class TestTiming:
    LIMITS = BatchLimits(max_images=3, max_pixels=1000, max_delay=5.0)

    def test_at_once_without_a_window(self) -> None:
        assert plan([job()]) == [0]

    def test_after_the_window_from_the_first_arrival(self) -> None:
        jobs = [job(0, arrival=10.0), job(1, arrival=14.0)]
        assert plan(jobs, self.LIMITS, now=14.0) == Wait(1.0)
        assert plan(jobs, self.LIMITS, now=15.0) == [0, 1]

    def test_at_once_when_full_of_images(self) -> None:
        assert plan([job(i) for i in range(3)], self.LIMITS) == [0, 1, 2]

    def test_at_once_when_no_image_of_any_size_could_join(self) -> None:
        assert plan([job(size=(20, 25))], self.LIMITS) == Wait(5.0)  # one more of at most 20 x 25 fits
        assert plan([job(size=(20, 26))], self.LIMITS) == [0]

    def test_at_once_when_it_takes_long_already(self) -> None:
        limits = BatchLimits(3, 1000, 5.0, max_seconds=0.5)
        assert plan([job(seconds=0.6)], limits) == [0]
        assert plan([job(seconds=0.4)], limits) == Wait(5.0)

    def test_at_once_when_memory_allows_no_more(self) -> None:
        caps = MemoryCaps()
        caps.lower([job(), job()])
        assert plan([job()], self.LIMITS, caps=caps) == [0]

    def test_at_once_when_waiting_would_hold_up_a_job_of_another_key(self) -> None:
        assert plan([job(0, "act"), job(1, "exact")], self.LIMITS) == [0]

    @pytest.mark.parametrize(("deadline", "waits"), [(4.0, False), (5.0, False), (5.5, True)])
    def test_no_deadline_passes_while_the_device_idles(self, deadline: float, waits: bool) -> None:
        jobs = [job(0), job(1, deadline=deadline)]
        assert plan(jobs, self.LIMITS) == (Wait(5.0) if waits else [0, 1])


class TestDeadline:
    @pytest.mark.parametrize(("deadline", "expired"), [(None, False), (7.1, False), (7.0, True), (3.0, True)])
    def test_a_deadline_has_passed_at_its_own_time(self, deadline: float | None, expired: bool) -> None:
        assert job(deadline=deadline).expired(now=7.0) is expired


class TestMemoryCaps:
    def test_what_failed_is_halved_for_its_key_and_size(self) -> None:
        caps = MemoryCaps()
        caps.lower([job(i) for i in range(5)])
        assert caps.cap("exact", 10, 10) == 2
        assert plan([job(i) for i in range(5)], caps=caps) == [0, 1]

    def test_another_key_and_a_smaller_size_keep_theirs(self) -> None:
        caps = MemoryCaps()
        caps.lower([job(i) for i in range(4)])
        assert caps.cap("act", 10, 10) == math.inf
        assert caps.cap("exact", 5, 10) == math.inf

    def test_a_larger_size_takes_over_the_cap_of_a_smaller(self) -> None:
        caps = MemoryCaps()
        caps.lower([job(i) for i in range(4)])
        assert caps.cap("exact", 500, 10) == 2

    def test_caps_never_rise_and_never_fall_below_one(self) -> None:
        caps = MemoryCaps()
        for images, cap in [(2, 1), (8, 1), (1, 1)]:
            caps.lower([job(i) for i in range(images)])
            assert caps.cap("exact", 10, 10) == cap

    def test_the_number_of_remembered_keys_is_bounded(self) -> None:
        caps = MemoryCaps()
        for key in range(MemoryCaps.MAX_KEYS + 1):
            caps.lower([job(key=key), job(key=key)])
        assert caps.cap(0, 10, 10) == math.inf
        assert caps.cap(1, 10, 10) == caps.cap(MemoryCaps.MAX_KEYS, 10, 10) == 1


@dataclass
class Started:
    """A batch of the played scenario, and what waited when it started."""

    at: float
    batch: list[Job[int, object]]
    waiting: list[Job[int, object]]


arrivals = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 4.0]),  # seconds since the last arrival: bursts and pauses
        st.sampled_from(["exact", "act-16", "act-32"]),
        st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(20, 30), (30, 20)]),
    ),
    min_size=1,
    max_size=40,
)
limits = st.builds(
    BatchLimits,
    max_images=st.integers(1, 6),
    max_pixels=st.integers(1, 6000),
    max_delay=st.sampled_from([0.0, 0.25, 2.0]),
)
failures = st.lists(st.tuples(st.sampled_from(["exact", "act-16"]), st.integers(1, 40), st.integers(1, 5)), max_size=3)


def schedule(steps: list[tuple[float, Hashable, tuple[int, int]]]) -> list[Job[int, object]]:
    times = itertools.accumulate(gap for gap, _, _ in steps)
    return [
        job(item, key, size, arrival) for item, (arrival, (_, key, size)) in enumerate(zip(times, steps, strict=True))
    ]


def remembered(failures: list[tuple[str, int, int]]) -> MemoryCaps:
    caps = MemoryCaps()
    for key, side, images in failures:
        caps.lower([job(key=key, size=(side, side))] * images)
    return caps


def play(jobs: list[Job[int, object]], limits: BatchLimits, caps: MemoryCaps, seconds: float) -> list[Started]:
    """Serve the jobs on one device that takes `seconds` for any batch and sleeps as long as the batcher says."""
    now, coming, waiting, started = 0.0, list(jobs), [], []
    while coming or waiting:
        while coming and coming[0].arrival <= now:
            waiting.append(coming.pop(0))
        batch = next_batch(waiting, now, limits, caps) if waiting else Wait(math.inf)
        if isinstance(batch, Wait):
            assert batch.seconds > 0
            now = min(now + batch.seconds, coming[0].arrival if coming else math.inf)
            continue
        started.append(Started(now, batch, waiting))
        waiting = [job for job in waiting if job not in batch]
        now += seconds
    return started


def scenarios(test: Callable[..., None]) -> Callable[..., None]:
    return settings(deadline=None)(given(arrivals, limits, failures, st.sampled_from([0.1, 1.0, 5.0]))(test))


@scenarios
def test_no_job_is_lost_or_run_twice(steps, limits, failures, seconds) -> None:
    jobs = schedule(steps)
    ran = [job.item for start in play(jobs, limits, remembered(failures), seconds) for job in start.batch]
    assert sorted(ran) == [job.item for job in jobs]


@scenarios
def test_a_batch_keeps_to_one_key_and_to_its_budget(steps, limits, failures, seconds) -> None:
    caps = remembered(failures)
    for start in play(schedule(steps), limits, caps, seconds):
        batch, (height, width) = start.batch, padded_size(start.batch)
        assert {job.key for job in batch} == {batch[0].key}
        assert 0 <= padding_ratio(batch) < 1
        if len(batch) > 1:
            assert len(batch) <= min(limits.max_images, caps.cap(batch[0].key, height, width))
            assert height * width * len(batch) <= limits.max_pixels


@scenarios
def test_the_oldest_is_never_passed_over(steps, limits, failures, seconds) -> None:
    for start in play(schedule(steps), limits, remembered(failures), seconds):
        assert start.waiting[0] in start.batch


@scenarios
def test_jobs_of_one_key_and_size_run_in_order_of_arrival(steps, limits, failures, seconds) -> None:
    latest: dict[Hashable, int] = {}
    for start in play(schedule(steps), limits, remembered(failures), seconds):
        for job in start.batch:
            alike = (job.key, job.height, job.width)
            assert latest.get(alike, -1) < job.item
            latest[alike] = job.item


@scenarios
def test_a_free_device_waits_for_nothing_but_the_window(steps, limits, failures, seconds) -> None:
    """A batch starts no later than when the device is free and the oldest has waited out the window."""
    free = 0.0
    for start in play(schedule(steps), limits, remembered(failures), seconds):
        oldest = start.waiting[0]
        assert start.at <= max(free, oldest.arrival + limits.max_delay)
        if limits.max_delay == 0:
            assert start.at == max(free, oldest.arrival)
        free = start.at + seconds


@scenarios
def test_the_device_idles_only_while_all_jobs_fit_into_one_batch(steps, limits, failures, seconds) -> None:
    """Whoever started later than it could have had been one batch with room until the last arrival before."""
    free = 0.0
    for start in play(schedule(steps), limits, remembered(failures), seconds):
        earlier = [job for job in start.waiting if job.arrival < start.at]
        if earlier and start.at > max(free, earlier[0].arrival):
            assert len({job.key for job in earlier}) == 1
            assert len(earlier) < limits.max_images or len(earlier) == 1
        free = start.at + seconds


@scenarios
def test_a_batch_leaves_out_no_job_that_would_fit(steps, limits, failures, seconds) -> None:
    caps = remembered(failures)
    for start in play(schedule(steps), limits, caps, seconds):
        for left in start.waiting:
            if left in start.batch or left.key != start.batch[0].key:
                continue
            height, width = padded_size([*start.batch, left])
            images = len(start.batch) + 1
            fits_limits = images <= limits.max_images and images * height * width <= limits.max_pixels
            assert not (fits_limits and images <= caps.cap(left.key, height, width))
