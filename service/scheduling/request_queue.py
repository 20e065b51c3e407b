"""The bounded queue of waiting jobs, between the event loop that adds them and the threads that take them.

One condition guards everything. Its invariants:

- A job is in `_waiting` from `put` until exactly one of `take`, `cancel`, `expire` and `abandon` removes it.
  The one that removes it answers it, except `cancel`, whose caller has left. So no job is lost, and none runs twice.
- `_waiting` is in order of arrival, and never longer than `max_queue`.
- `_running` has what `take` last handed out to each taker, and `_busy_until` when that is expected to be done.
- `_waiting_seconds` is the predicted device time of `_waiting`.
- `_idle` has the takers that are inside `take`. One that does spare work is neither there nor in `_running`.
- Once `_refusal` is set, `put` raises it; it is set once and never cleared.

The condition is held for bookkeeping and for planning a batch, never while a batch runs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol

from service.errors import DeadlinePassed, QueueFull, ServiceError
from service.scheduling.batcher import Answer, BatchLimits, Item, Job, MemoryCaps, Wait, next_batch, total_seconds
from service.scheduling.costs import CostModel
from service.scheduling.spare_work import LOOK_SECONDS, SpareWork


class QueueObserver(Protocol):
    """Called from any thread, with the queue locked: must be quick and never raise."""

    def on_queue_depth(self, n: int) -> None:
        """Note that `n` jobs wait now."""


WAIT_SAFETY_FACTOR: Final = 1.25
"""Safety factor on the estimated wait: images may take longer than those before them, which it is based on."""


def time_until_free(busy: Sequence[float], work: float) -> float:
    """Return the seconds until the first taker is free, if each is busy for so long and they share `work` seconds more.

    The work is shared as evenly as can be. Jobs that are handed out whole, each to the taker that is free first, leave
    one of them free no later.
    """
    level = 0.0
    for takers, seconds in enumerate(sorted(busy), start=1):
        if takers > 1 and level <= seconds:
            break
        work += seconds
        level = work / takers
    return level


class RequestQueue(Generic[Item, Answer]):
    """Bounded admission, deadlines and cancellation, for `takers` threads that take batches.

    `costs` predicts device times. `clock` returns seconds that never go back. `spare` is what takers do otherwise.
    """

    def __init__(
        self,
        limits: BatchLimits,
        max_queue: int,
        observer: QueueObserver,
        clock: Callable[[], float],
        costs: CostModel,
        takers: int = 1,
        spare: SpareWork | None = None,
    ) -> None:
        if max_queue < 1:
            raise ValueError(f"max_queue must be at least 1, not {max_queue}")
        self._caps = MemoryCaps()
        self._limits = limits
        self._max_queue = max_queue
        self._observer = observer
        self._clock = clock
        self._costs = costs
        self._changed = threading.Condition()
        self._waiting: dict[Job[Item, Answer], None] = {}
        self._waiting_seconds = 0.0
        self._running: list[list[Job[Item, Answer]]] = [[] for _ in range(takers)]
        self._busy_until = [-math.inf] * takers
        self._idle: set[int] = set()
        self._spare = spare
        self._refusal: Callable[[], ServiceError] | None = None

    @property
    def room(self) -> int:
        """How many more jobs may wait."""
        return self._max_queue - len(self._waiting)

    @property
    def images(self) -> int:
        """How many jobs wait or run."""
        return len(self._waiting) + sum(map(len, self._running))

    def wait(self, unknown: int = 0) -> float:
        """Estimated seconds until a job would begin that arrives now, after `unknown` more of unknown cost."""
        now = self._clock()
        busy = [max(0.0, until - now) for until in self._busy_until]
        if not self._waiting and unknown < self._running.count([]):
            return 0.0
        return time_until_free(busy, self._waiting_seconds + unknown * self._costs.mean)

    def crowded(self, unknown: int = 0) -> bool:
        """Whether spare work has to make way for what waits, and for `unknown` more; and once closed. Takes no lock."""
        return self._refusal is not None or len(self._waiting) + unknown > len(self._idle)

    def put(self, job: Job[Item, Answer]) -> None:
        """Add a job at the end of the queue, and predict its time. Never blocks for long.

        Raises QueueFull if the queue is full or too long for the job's deadline, DeadlinePassed if that has passed,
        and the refusal of `close` or `abandon`.
        """
        with self._changed:
            if self._refusal is not None:
                raise self._refusal()
            now = self._clock()
            if job.expired(now):
                raise DeadlinePassed
            wait = self.wait()
            if not self.room:
                raise QueueFull(wait)
            begins = now + WAIT_SAFETY_FACTOR * wait
            if job.deadline is not None and begins > job.deadline:
                raise QueueFull(begins - job.deadline, "More images wait for the device than the deadline allows.")
            job.seconds = self._costs.predict(job.key, job.pixels)
            self._waiting[job] = None
            self._waiting_seconds += job.seconds
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

    def take(self, taker: int = 0) -> list[Job[Item, Answer]] | None:
        """Block until there is a batch, or spare work, which is an empty list; return None once closed and empty.

        Takers are counted from 0. Calling it means that the last batch that this one took has been answered.
        """
        with self._changed:
            self._occupy(taker, [], -math.inf)
            self._idle.add(taker)
            try:
                return self._next(taker)
            finally:
                self._idle.discard(taker)

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
            jobs = [*(job for batch in self._running for job in batch), *self._waiting]
            for taker in range(len(self._running)):
                self._occupy(taker, [], -math.inf)
            self._waiting.clear()
            self._waiting_seconds = 0.0
            self._observer.on_queue_depth(0)
            for job in jobs:
                job.done(refusal())

    def _next(self, taker: int) -> list[Job[Item, Answer]] | None:
        while True:
            now = self._clock()
            for job in [job for job in self._waiting if job.expired(now)]:
                self.expire(job)
            if self._waiting:
                plan = next_batch(list(self._waiting), now, self._limits, self._caps)
                if not isinstance(plan, Wait):
                    return self._hand_out(taker, plan)
                self._changed.wait(plan.seconds)
            elif self._refusal is not None:
                return None
            elif self._spare is None:
                self._changed.wait()
            elif self._leaves_one_idle and self._spare.ready:
                return []
            else:
                self._changed.wait(LOOK_SECONDS)

    @property
    def _leaves_one_idle(self) -> bool:
        """Whether another taker stays free if an idle one becomes busy; not asked for where there is one in all."""
        return len(self._idle) > 1 or len(self._running) == 1

    def _remove(self, job: Job[Item, Answer]) -> bool:
        if job not in self._waiting:
            return False
        self._leave([job])
        return True

    def _hand_out(self, taker: int, batch: list[Job[Item, Answer]]) -> list[Job[Item, Answer]]:
        self._occupy(taker, batch, self._clock() + total_seconds(batch))
        self._leave(batch)
        return batch

    def _occupy(self, taker: int, batch: list[Job[Item, Answer]], until: float) -> None:
        self._running[taker], self._busy_until[taker] = batch, until

    def _leave(self, jobs: Sequence[Job[Item, Answer]]) -> None:
        for job in jobs:
            del self._waiting[job]
        # Sums of floats drift: an empty queue starts anew.
        self._waiting_seconds = max(0.0, self._waiting_seconds - total_seconds(jobs)) if self._waiting else 0.0
        self._observer.on_queue_depth(len(self._waiting))
