"""The bounded queue of waiting jobs, between the event loop that adds them and the threads that take them.

One condition guards everything. Its invariants:

- A job is in `_waiting` from `put` until exactly one of `take`, `cancel`, `expire` and `abandon` removes it.
  The one that removes it answers it, except `cancel`, whose caller has left. So no job is lost, and none runs twice.
- `_waiting` is in order of arrival, and never longer than `max_queue`.
- `_running` has what `take` last handed out to each thread.
- Once `_refusal` is set, `put` raises it; it is set once and never cleared.

The condition is held for bookkeeping and for planning a batch, never while a batch runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol

from service.errors import DeadlinePassed, QueueFull, ServiceError
from service.scheduling.batcher import Answer, BatchLimits, Item, Job, MemoryCaps, Wait, next_batch


class QueueObserver(Protocol):
    """Called from any thread, with the queue locked: must be quick and never raise."""

    def on_queue_depth(self, n: int) -> None:
        """Note that `n` jobs wait now."""


WAIT_SAFETY_FACTOR: Final = 1.25
"""Safety factor on the estimated wait: the next images may be slower than the recent ones it is based on."""


class ServiceTimeEstimate:
    """The device time of one image: that of recent batches, the latest weighted most, over their images."""

    WEIGHT: Final = 0.2

    def __init__(self) -> None:
        self._seconds = 0.0
        self._images = 0.0

    def record(self, images: int, seconds: float) -> None:
        """Add a batch that took `seconds` in total."""
        self._seconds += self.WEIGHT * (seconds - self._seconds)
        self._images += self.WEIGHT * (images - self._images)

    @property
    def seconds_per_image(self) -> float:
        """Seconds of device time; 0 before the first batch."""
        return self._seconds / self._images if self._images else 0.0


class RequestQueue(Generic[Item, Answer]):
    """Bounded admission, deadlines and cancellation, for `takers` threads that take batches.

    `clock` returns seconds that never go back.
    """

    def __init__(
        self,
        limits: BatchLimits,
        max_queue: int,
        observer: QueueObserver,
        clock: Callable[[], float],
        takers: int = 1,
    ) -> None:
        if max_queue < 1:
            raise ValueError(f"max_queue must be at least 1, not {max_queue}")
        self._takers = takers
        self._caps = MemoryCaps()
        self._limits = limits
        self._max_queue = max_queue
        self._observer = observer
        self._clock = clock
        self._estimate = ServiceTimeEstimate()
        self._changed = threading.Condition()
        self._waiting: dict[Job[Item, Answer], None] = {}
        self._running: dict[int, list[Job[Item, Answer]]] = {}
        self._refusal: Callable[[], ServiceError] | None = None

    @property
    def full(self) -> bool:
        """Whether as many jobs wait as may."""
        return len(self._waiting) >= self._max_queue

    @property
    def seconds_per_image(self) -> float:
        """What one image adds to the wait: its measured time, shared by the takers; 0 before the first batch."""
        return self._estimate.seconds_per_image / self._takers

    @property
    def wait(self) -> float:
        """Estimated seconds until the device has finished all jobs that wait or run."""
        running = sum(len(batch) for batch in self._running.values())
        return (len(self._waiting) + running) * self.seconds_per_image

    def put(self, job: Job[Item, Answer]) -> None:
        """Add a job at the end of the queue. Never blocks for long.

        Raises QueueFull if the queue is full or too long for the job's deadline, DeadlinePassed if that has passed,
        and the refusal of `close` or `abandon`.
        """
        with self._changed:
            if self._refusal is not None:
                raise self._refusal()
            now = self._clock()
            if job.expired(now):
                raise DeadlinePassed
            if self.full:
                raise QueueFull(self.wait)
            begins = now + WAIT_SAFETY_FACTOR * self.wait
            if job.deadline is not None and self._waiting and begins > job.deadline:
                raise QueueFull(begins - job.deadline, "More images wait for the device than the deadline allows.")
            self._waiting[job] = None
            self._observer.on_queue_depth(len(self._waiting))
            self._changed.notify_all()  # a taker that fills a batch of another key would not do

    def cancel(self, job: Job[Item, Answer]) -> None:
        """Drop a job whose caller has left; one that runs already is only marked."""
        with self._changed:
            job.cancelled = True
            self._remove(job)

    def expire(self, job: Job[Item, Answer]) -> None:
        """Answer a job DeadlinePassed if it still waits; one that runs already may finish."""
        with self._changed:
            if self._remove(job):
                job.done(DeadlinePassed())

    def take(self) -> list[Job[Item, Answer]] | None:
        """Block until there is a batch to run; return None once closed and empty.

        Calling it means that the last batch that the calling thread took has been answered.
        """
        with self._changed:
            self._running.pop(threading.get_ident(), None)
            while True:
                now = self._clock()
                for job in [job for job in self._waiting if job.expired(now)]:
                    self.expire(job)
                if self._waiting:
                    plan = next_batch(list(self._waiting), now, self._limits, self._caps)
                    if not isinstance(plan, Wait):
                        return self._hand_out(plan)
                    self._changed.wait(plan.seconds)
                elif self._refusal is None:
                    self._changed.wait()
                else:
                    return None

    def record(self, images: int, seconds: float) -> None:
        """Add a batch that has run to the service time estimate."""
        with self._changed:
            self._estimate.record(images, seconds)

    def lower_cap(self, jobs: Sequence[Job[Item, Answer]]) -> None:
        """Remember that these jobs did not fit into the device's memory together (`MemoryCaps.lower`)."""
        with self._changed:
            self._caps.lower(jobs)

    def close(self, refusal: Callable[[], ServiceError]) -> None:
        """Refuse jobs from now on. Those that wait are still handed out, without delay."""
        with self._changed:
            self._refusal = self._refusal or refusal
            self._limits = replace(self._limits, max_delay=0)  # no more will join
            self._changed.notify_all()

    def abandon(self, refusal: Callable[[], ServiceError]) -> None:
        """Close, and answer all jobs that wait or run with the refusal at once."""
        self.close(refusal)
        with self._changed:
            jobs = [*(job for batch in self._running.values() for job in batch), *self._waiting]
            self._running.clear()
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
        self._running[threading.get_ident()] = batch
        self._observer.on_queue_depth(len(self._waiting))
        return batch
