"""The inference worker: threads, one on a GPU, run batches from the queue and answer each caller.

Nothing here blocks the event loop: `submit` holds a lock for microseconds and then awaits a future; answers
come back through `loop.call_soon_threadsafe`.

A batch that fails costs as few callers as possible. If it runs out of memory, its halves run in turn, and later
batches of that key and size stay smaller. After any other exception its images run one by one, so that only the
one at fault fails. `run` raises WorkerDead if the device itself has failed. That ends the worker, as does
anything that is not an Exception, and every caller, waiting or running, is answered WorkerDead.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from service.errors import Draining, InternalError, OutOfMemory, ServiceError, WorkerDead
from service.scheduling.admission import Backlog
from service.scheduling.batcher import BatchLimits, Item, Job, padding_ratio, total_seconds
from service.scheduling.costs import CostModel
from service.scheduling.request_queue import QueueObserver, RequestQueue
from service.scheduling.spare_work import SpareWork

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed(Generic[Result]):
    """An image's result, how many images ran with it, and its seconds in the queue and on the device.

    `arrival` is when it was submitted, on the worker's clock.
    """

    result: Result
    batch_size: int
    queue_seconds: float
    inference_seconds: float
    arrival: float


class WorkerObserver(QueueObserver, Protocol):
    """Also called for what the worker runs, from its thread: must be quick and never raise."""

    def on_batch(self, key: Any, size: int, padding_ratio: float, seconds: float, predicted: float) -> None:
        """Count a batch that has run, of `size` images; the padding ratio is 0 to 1.

        `seconds` is its device time, `predicted` what it was taken for while it waited: 0 if nothing was known.
        """

    def on_out_of_memory(self) -> None:
        """Count a batch that did not fit into the device's memory."""


class InferenceWorker(Generic[Item, Result]):
    """Batches submitted images and runs them, a batch at a time on each of `streams` threads.

    `run(items, key)` returns one result per item, in order; only the worker's threads call it, and it may take
    minutes. `is_out_of_memory` says whether an exception of `run` means that fewer images may fit. `costs` predicts
    device times, and learns from what each batch takes. `clock` returns seconds that never go back. `set_up(stream)`,
    counted from 0, runs on each thread before anything else, on one after another; if it raises, the worker is dead.
    Images submitted before that wait for it. `spare` is what the threads do while nothing waits: it is no batch, and
    `costs` and the observer hear nothing of it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item], Any], Sequence[Result]],
        *,
        limits: BatchLimits,
        max_queue: int,
        observer: WorkerObserver,
        clock: Callable[[], float] = time.monotonic,
        is_out_of_memory: Callable[[BaseException], bool],
        costs: CostModel | None = None,
        set_up: Callable[[int], None] = lambda _: None,
        streams: int = 1,
        spare: SpareWork | None = None,
    ) -> None:
        self._run = run
        self._spare = spare
        self._observer = observer
        self._clock = clock
        self._is_out_of_memory = is_out_of_memory
        self._set_up = set_up
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ready.set_running_or_notify_cancel()  # so that cancelling the wait cannot cancel it
        self._costs = costs or CostModel()
        self._queue: RequestQueue[Item, Completed[Result]] = RequestQueue(
            limits, max_queue, observer, clock, self._costs, streams, spare
        )
        self.backlog: Backlog = self._queue
        self._threads = [
            threading.Thread(target=self._work, args=(stream,), name=f"inference-{stream}", daemon=True)
            for stream in range(streams)
        ]
        self._unfinished = threading.Lock()
        self._to_set_up = self._to_end = streams
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended.set_running_or_notify_cancel()  # so that cancelling `drain` cannot cancel it
        self._dead = False

    @property
    def alive(self) -> bool:
        """Whether all threads run: False before `start`, after one died, and once drained."""
        return self._started and not self._dead and not self._ended.done()

    def start(self) -> concurrent.futures.Future[None]:
        """Start the threads; return the future of their `set_up`. Raises RuntimeError when called twice."""
        for thread in self._threads:
            thread.start()
        return self._ready

    @property
    def _started(self) -> bool:
        return self._threads[-1].ident is not None

    async def submit(
        self, item: Item, *, key: Hashable, height: int, width: int, deadline: float | None = None
    ) -> Completed[Result]:
        """Wait for the result of one image of `height` x `width` pixels.

        Images with equal keys may run together. `deadline` is a time on the worker's clock. If it passes while the
        image waits, the answer is DeadlinePassed at once; if it passes while the image's batch runs, the result is
        returned all the same. Cancelling the awaiting task drops the image if it still waits.

        Raises QueueFull, DeadlinePassed, Draining, WorkerDead, OutOfMemory or InternalError.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Completed[Result]] = loop.create_future()
        done = functools.partial(_deliver, loop, answer)
        job = Job(item, key, height, width, self._clock(), deadline, done)
        self._queue.put(job)
        timer = None
        if deadline is not None:
            timer = loop.call_later(deadline - job.arrival, self._queue.expire, job)
        try:
            return await answer
        except asyncio.CancelledError:
            self._queue.cancel(job)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def drain(self, timeout: float | None = None) -> None:
        """Refuse new images, answer the accepted ones, and end the threads.

        After `timeout` seconds, answers the rest Draining and raises TimeoutError. A running batch cannot be stopped:
        its thread dies with the process.
        """
        self._queue.close(Draining)
        if not self._started:  # no thread takes the rest
            self._queue.abandon(Draining)
            return
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(self._ended)
        except TimeoutError:
            self._queue.abandon(Draining)
            raise

    def _work(self, stream: int) -> None:
        try:
            self._set_up_in_turn(stream)
            while self._run_next(stream):
                pass
        except BaseException as error:
            self._die(error)
        finally:
            with self._unfinished:
                self._to_end -= 1
                if self._to_end == 0:
                    self._ended.set_result(None)

    def _set_up_in_turn(self, stream: int) -> None:
        with self._unfinished:
            if self._dead:
                return
            self._set_up(stream)
            self._to_set_up -= 1
            if self._to_set_up == 0:
                self._ready.set_result(None)

    def _die(self, error: BaseException) -> None:
        with self._unfinished:
            first, self._dead = not self._dead, True
            setting_up = self._to_set_up > 0 and not self._ready.done()
            if setting_up:
                self._ready.set_exception(error)
        self._queue.abandon(WorkerDead)
        if first and not setting_up:
            logger.critical("an inference thread died: nothing will run until a restart", exc_info=True)

    def _run_next(self, stream: int) -> bool:
        batch = self._queue.take(stream)
        if batch is None:
            return False
        if batch:
            self._run_batch(batch)
        elif self._spare is not None:
            self._spare.run()
        return True

    def _run_batch(self, jobs: Sequence[Job[Item, Completed[Result]]]) -> None:
        """Answer every job, from one run or, if that fails, from several smaller ones."""
        jobs = [job for job in jobs if not job.cancelled]  # callers may leave between the smaller ones
        if not jobs:
            return
        started = self._clock()
        try:
            results = self._run([job.item for job in jobs], jobs[0].key)
        except WorkerDead:
            raise
        except Exception as error:
            failure = self._explain(error, jobs)
        else:
            self._answer(jobs, results, started)
            return
        # Outside the except clause, so that the exception's traceback no longer holds the batch's memory.
        self._run_smaller(jobs, failure)

    def _explain(self, error: Exception, jobs: Sequence[Job[Item, Completed[Result]]]) -> ServiceError:
        if not self._is_out_of_memory(error):
            logger.error("a batch of %d failed", len(jobs), exc_info=error)
            return InternalError()
        reason = str(error)  # a log record that held the error would hold the memory too
        logger.warning("a batch of %d did not fit into the device's memory: %s", len(jobs), reason)
        self._queue.lower_cap(jobs)
        self._observer.on_out_of_memory()
        return OutOfMemory()

    def _run_smaller(self, jobs: Sequence[Job[Item, Completed[Result]]], failure: ServiceError) -> None:
        if len(jobs) == 1:
            jobs[0].done(failure)
            return
        size = (len(jobs) + 1) // 2 if isinstance(failure, OutOfMemory) else 1
        for first in range(0, len(jobs), size):
            self._run_batch(jobs[first : first + size])

    def _answer(self, jobs: Sequence[Job[Item, Completed[Result]]], results: Sequence[Result], started: float) -> None:
        seconds = self._clock() - started
        if len(results) != len(jobs):
            logger.error("a batch of %d gave %d results", len(jobs), len(results))
            for job in jobs:
                job.done(InternalError())
            return
        # Counted first, so that a caller with an answer finds it in the metrics.
        self._costs.record(jobs[0].key, [job.pixels for job in jobs], seconds)
        self._observer.on_batch(jobs[0].key, len(jobs), padding_ratio(jobs), seconds, total_seconds(jobs))
        for job, result in zip(jobs, results, strict=True):
            job.done(Completed(result, len(jobs), started - job.arrival, seconds, job.arrival))


def _deliver(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[Completed[Result]],
    outcome: Completed[Result] | ServiceError,
) -> None:
    """Resolve a caller's future on its own loop, from any thread; one that is done stays as it is."""

    def resolve() -> None:
        if answer.done():
            return
        if isinstance(outcome, ServiceError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    with contextlib.suppress(RuntimeError):  # the loop has closed: no caller waits any more
        loop.call_soon_threadsafe(resolve)
