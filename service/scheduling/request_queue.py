"""The bounded line of waiting jobs, between the event loop that adds them and the thread that takes them.

One condition guards everything. Its invariants:

- A job is in `_waiting` from `put` until exactly one of `take`, `cancel`, `expire` and `abandon` removes it,
  and whoever removes it sees to its answer (`cancel` gives none: nobody listens). So no job is lost, and none
  runs twice.
- `_waiting` is in order of arrival, and never longer than `max_queue`.
- `_running` is what `take` last handed out.
- Once `_refusal` is set, `put` raises it; it is set once and never cleared.

The condition is held for bookkeeping and for planning a batch, never while a batch runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, Protocol

from service.errors import DeadlinePassed, QueueFull, ServiceError
from service.scheduling.batcher import Answer, BatchLimits, Item, Job, MemoryCaps, Wait, next_batch


class QueueObserver(Protocol):
    """Told what happens to waiting jobs, from any thread, with the queue locked: quick, and never raises."""

    def on_queue_depth(self, n: int) -> None:
        """Note that `n` jobs wait now."""

    def on_cancelled(self) -> None:
        """Count a waiting job that was dropped because its caller left."""

    def on_deadline(self) -> None:
        """Count a job that was refused or dropped because its deadline had passed."""


CAUTION: Final = 1.25
"""What is accepted shall be answered: the next images may be slower than the last few, that the wait is judged by."""


class Pace:
    """How long an image takes: recent batches, the latest weighing most, time over images."""

    WEIGHT: Final = 0.2

    def __init__(self) -> None:
        self._seconds = 0.0
        self._images = 0.0

    def record(self, images: int, seconds: float) -> None:
        """Count a batch that took `seconds` in all."""
        self._seconds += self.WEIGHT * (seconds - self._seconds)
        self._images += self.WEIGHT * (images - self._images)

    @property
    def seconds_per_image(self) -> float:
        """Seconds of device time; 0 before the first batch."""
        return self._seconds / self._images if self._images else 0.0


class RequestQueue(Generic[Item, Answer]):
    """Bounded admission, deadlines and cancellation. `clock` returns seconds that never go back."""

    def __init__(
        self, limits: BatchLimits, max_queue: int, observer: QueueObserver, clock: Callable[[], float]
    ) -> None:
        if max_queue < 1:
            raise ValueError(f"max_queue must be at least 1, not {max_queue}")
        self.caps = MemoryCaps()  # the taking thread's own
        self._limits = limits
        self._max_queue = max_queue
        self._observer = observer
        self._clock = clock
        self._pace = Pace()
        self._changed = threading.Condition()
        self._waiting: dict[Job[Item, Answer], None] = {}
        self._running: list[Job[Item, Answer]] = []
        self._refusal: Callable[[], ServiceError] | None = None

    @property
    def depth(self) -> int:
        """How many jobs wait; those that run do not count."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the line is as long as it may be."""
        return len(self._waiting) >= self._max_queue

    @property
    def seconds_per_image(self) -> float:
        """Device time of one image, measured; 0 before anything has run."""
        return self._pace.seconds_per_image

    @property
    def wait(self) -> float:
        """Seconds, about, until the device has done all that waits or runs."""
        return (len(self._waiting) + len(self._running)) * self._pace.seconds_per_image

    def put(self, job: Job[Item, Answer]) -> None:
        """Add a job at the end of the line. Never blocks for long.

        Raises QueueFull where the line is full, or too long for the job's deadline to be met; DeadlinePassed if it
        already has; and what `close` or `abandon` said.
        """
        with self._changed:
            if self._refusal is not None:
                raise self._refusal()
            now = self._clock()
            if job.expired(now):
                self._observer.on_deadline()
                raise DeadlinePassed
            if self.full:
                raise QueueFull(self.wait)
            begins = now + CAUTION * self.wait
            if job.deadline is not None and self._waiting and begins > job.deadline:
                raise QueueFull(begins - job.deadline, "More waits for the device than the deadline allows.")
            self._waiting[job] = None
            self._observer.on_queue_depth(len(self._waiting))
            self._changed.notify()

    def cancel(self, job: Job[Item, Answer]) -> None:
        """Drop a job that nobody listens to any more; one that runs already is only marked."""
        with self._changed:
            job.cancelled = True
            if self._remove(job):
                self._observer.on_cancelled()

    def expire(self, job: Job[Item, Answer]) -> None:
        """Answer a job DeadlinePassed if it still waits; one that runs already is let finish."""
        with self._changed:
            if self._remove(job):
                self._observer.on_deadline()
                job.done(DeadlinePassed())

    def take(self) -> list[Job[Item, Answer]] | None:
        """Block until there is a batch to run; None once closed and empty. For one thread alone.

        To ask for the next batch is to say that the last one has been answered.
        """
        with self._changed:
            self._running = []
            while True:
                now = self._clock()
                for job in [job for job in self._waiting if job.expired(now)]:
                    self.expire(job)
                if self._waiting:
                    plan = next_batch(list(self._waiting), now, self._limits, self.caps)
                    if not isinstance(plan, Wait):
                        return self._hand_out(plan)
                    self._changed.wait(plan.seconds)
                elif self._refusal is None:
                    self._changed.wait()
                else:
                    return None

    def record(self, images: int, seconds: float) -> None:
        """Count a batch that has run: `retry_after` is computed from it."""
        with self._changed:
            self._pace.record(images, seconds)

    def close(self, refusal: Callable[[], ServiceError]) -> None:
        """Refuse all that comes from now on. What waits is still handed out, with no delay."""
        with self._changed:
            self._refusal = self._refusal or refusal
            self._limits = replace(self._limits, max_delay=0)  # no more will join
            self._changed.notify()

    def abandon(self, refusal: Callable[[], ServiceError]) -> None:
        """Close, and answer all that waits or runs with the refusal, at once."""
        self.close(refusal)
        with self._changed:
            jobs = [*self._running, *self._waiting]
            self._running = []
            self._waiting.clear()
            self._observer.on_queue_depth(0)
            for job in jobs:
                job.done(refusal())

    def _remove(self, job: Job[Item, Answer]) -> bool:
        if job not in self._waiting:
            return False
        del self._waiting[job]
        self._observer.on_queue_depth(len(self._waiting))
        return True

    def _hand_out(self, batch: list[Job[Item, Answer]]) -> list[Job[Item, Answer]]:
        for job in batch:
            del self._waiting[job]
        self._running = batch
        self._observer.on_queue_depth(len(self._waiting))
        return batch
