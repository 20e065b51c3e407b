"""The batcher: pure functions that choose which waiting jobs run together, and when.

The rules, in the order in which they bind:

1. The oldest waiting job is in the next batch. So none starves: a job with k older ones is in one of the
   next k + 1 batches.
2. A batch has one key (its attention config), at most `max_images` images, at most `max_pixels` pixels once every
   image is padded to the tallest and the widest, and takes at most `max_seconds`, as far as is known beforehand:
   all of its images are answered at its end. An image that exceeds this runs by itself.
3. Of the jobs that may join the oldest, those that need the least padding beside it join first, older before
   newer: jobs of one key and size run in the order of their arrival.
4. The batch runs at once, unless waiting could fill it further and delays no job outside it. It waits at most
   until `max_delay` after the oldest job's arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from service.errors import ServiceError
from service.scheduling.costs import size_bucket

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The maximum size of a batch, and how long the oldest job may wait for it to fill.

    `max_pixels` bounds height · width · images of the padded batch; `max_delay` is in seconds, 0 for none;
    `max_seconds` bounds the predicted device time. Raises ValueError for values out of range.
    """

    max_images: int
    max_pixels: int
    max_delay: float
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        if self.max_images < 1 or self.max_pixels < 1 or not self.max_seconds > 0:
            raise ValueError("a batch needs room for at least one image and one pixel, and time")
        if not 0 <= self.max_delay < math.inf:
            raise ValueError(f"max_delay must be at least 0 seconds and finite, not {self.max_delay}")


@dataclass(eq=False, slots=True)
class Job(Generic[Item, Answer]):
    """One waiting image, and the callback that takes its answer. Two jobs are never equal.

    `height` and `width` are pixels, at least 1. `arrival` and `deadline` are seconds on the worker's clock, `seconds`
    is the predicted device time. `done` may be called from any thread, and more than once: the first call counts.
    """

    item: Item
    key: Hashable
    height: int
    width: int
    arrival: float
    deadline: float | None
    done: Callable[[Answer | ServiceError], None]
    cancelled: bool = False
    seconds: float = 0.0

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.height * self.width

    def expired(self, now: float) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and self.deadline <= now


class MemoryCaps:
    """The number of images that have proved to fit into the device's memory, by key and size.

    Sizes are bucketed by pixels (`size_bucket`). What does not fit at one size does not fit at a
    larger one, so a cap holds for its own bucket and for all larger ones. Caps only ever go down. Not locked:
    one thread uses it.
    """

    MAX_KEYS: Final = 256  # keys contain numbers that callers choose: only the latest are remembered

    def __init__(self) -> None:
        self._caps: dict[Hashable, dict[int, int]] = {}

    def lower(self, jobs: Sequence[Job[Item, Answer]]) -> None:
        """Remember that these jobs did not fit as one batch: allow half as many, at least one."""
        key, bucket, half = jobs[0].key, size_bucket(math.prod(padded_size(jobs))), max(1, len(jobs) // 2)
        caps = self._caps.pop(key, {})  # inserted last again, and so forgotten last
        self._caps[key] = caps | {bucket: min(half, caps.get(bucket, half))}
        if len(self._caps) > self.MAX_KEYS:
            del self._caps[next(iter(self._caps))]

    def cap(self, key: Hashable, height: int, width: int) -> float:
        """Return how many images of this padded size may run together; infinite if no batch failed."""
        caps = self._caps.get(key)
        if not caps:
            return math.inf
        bucket = size_bucket(height * width)
        return min((cap for other, cap in caps.items() if other <= bucket), default=math.inf)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to run yet: ask again after this time, or when another job has arrived."""

    seconds: float


def padded_size(jobs: Sequence[Job[Item, Answer]]) -> tuple[int, int]:
    """Return the height and width, in pixels, to which each image of a batch is padded."""
    return max(job.height for job in jobs), max(job.width for job in jobs)


def padding_ratio(jobs: Sequence[Job[Item, Answer]]) -> float:
    """Return the share of a batch's pixels that is padding, from 0 to below 1."""
    height, width = padded_size(jobs)
    return 1 - sum(job.pixels for job in jobs) / (height * width * len(jobs))


def total_seconds(jobs: Sequence[Job[Item, Answer]]) -> float:
    """Return the predicted device time of a batch."""
    return sum(job.seconds for job in jobs)


def next_batch(
    jobs: Sequence[Job[Item, Answer]], now: float, limits: BatchLimits, caps: MemoryCaps
) -> list[Job[Item, Answer]] | Wait:
    """Return the jobs that a free device runs now, oldest first, or how long it may wait for more.

    `jobs` are those waiting, at least one, in order of arrival, none of them expired.
    """
    batch = _fill(jobs, limits, caps)
    window_end = jobs[0].arrival + limits.max_delay
    others_wait = len(batch) < len(jobs)
    full = not _room(len(batch) + 1, *padded_size(batch), total_seconds(batch), jobs[0].key, limits, caps)
    # A deadline inside the window would pass while the device idles.
    urgent = any(job.expired(window_end) for job in batch)
    if now >= window_end or others_wait or full or urgent:
        return batch
    return Wait(window_end - now)


def _fill(jobs: Sequence[Job[Item, Answer]], limits: BatchLimits, caps: MemoryCaps) -> list[Job[Item, Answer]]:
    oldest = jobs[0]
    batch, height, width, seconds = [oldest], oldest.height, oldest.width, oldest.seconds
    if not _room(2, height, width, seconds, oldest.key, limits, caps):  # the others need not be sorted
        return batch
    same_key = [job for job in jobs[1:] if job.key == oldest.key]
    for job in sorted(same_key, key=lambda job: padding_ratio([oldest, job])):  # stable: older before newer
        taller, wider = max(height, job.height), max(width, job.width)
        if _room(len(batch) + 1, taller, wider, seconds + job.seconds, oldest.key, limits, caps):
            batch.append(job)
            height, width, seconds = taller, wider, seconds + job.seconds
    return batch


def _room(
    images: int, height: int, width: int, seconds: float, key: Hashable, limits: BatchLimits, caps: MemoryCaps
) -> bool:
    """Return whether this many images of this padded size, which take so long in all, may run together.

    If not, no more, no larger and no slower ones may.
    """
    max_images = min(limits.max_images, caps.cap(key, height, width))
    fits = images <= max_images and images * height * width <= limits.max_pixels
    return fits and seconds <= limits.max_seconds
