"""The worker with its real thread and a real event loop. `run` is held up by gates, never by sleeping."""

import asyncio
import functools
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from service.errors import (
    DeadlinePassed,
    Draining,
    InternalError,
    OutOfMemory,
    QueueFull,
    WorkerDead,
)
from service.scheduling.batcher import BatchLimits
from service.scheduling.inference_worker import Completed, InferenceWorker

PATIENCE = 60.0  # seconds until a test that hangs fails instead
PAUSE = 0.001  # seconds between the questions of spare work


class MemoryFull(RuntimeError):
    pass


class Clock:
    """Seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Observed:
    batches: list[tuple[Hashable, int, float]] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    out_of_memory: int = 0
    depth: int = 0

    def on_queue_depth(self, n: int) -> None:
        self.depth = n

    def on_batch(self, key: Hashable, size: int, padding_ratio: float, seconds: float, predicted: float) -> None:
        self.batches.append((key, size, padding_ratio))
        self.times.append((seconds, predicted))

    def on_out_of_memory(self) -> None:
        self.out_of_memory += 1


class Device:
    """A stand-in for the detector: squares numbers, remembers its batches, and waits at a gate while it is closed."""

    def __init__(self, behave: Callable[[list[int]], list[int]] | None = None) -> None:
        self.behave = behave or (lambda items: [item * item for item in items])
        self.calls: list[tuple[list[int], Hashable]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def run(self, items: Sequence[int], key: Hashable) -> list[int]:
        self.calls.append((list(items), key))
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        return self.behave(list(items))

    @property
    def batches(self) -> list[list[int]]:
        return [items for items, _ in self.calls]

    async def reached(self) -> None:
        """Wait until `run` has been entered once more."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE)


class Bench:
    def __init__(
        self,
        behave: Callable[[list[int]], list[int]] | None = None,
        *,
        max_images: int = 8,
        max_delay: float = 0.0,
        max_queue: int = 100,
        set_up: Callable[[int], Any] = lambda _: None,
        streams: int = 1,
        spare: Any = None,
    ) -> None:
        self.device = Device(behave)
        self.observed = Observed()
        self.clock = Clock()
        self.worker: InferenceWorker[int, int] = InferenceWorker(
            self.device.run,
            limits=BatchLimits(max_images, 10**9, max_delay),
            max_queue=max_queue,
            observer=self.observed,
            clock=self.clock,
            is_out_of_memory=lambda error: isinstance(error, MemoryFull),
            set_up=set_up,
            streams=streams,
            spare=spare,
        )

    def submit(
        self,
        item: int,
        key: Hashable = "exact",
        deadline: float | None = None,
        size: tuple[int, int] = (10, 10),
    ) -> asyncio.Task[Completed[int]]:
        height, width = size
        return asyncio.create_task(self.worker.submit(item, key=key, height=height, width=width, deadline=deadline))

    async def queued(self, item: int, **options: Any) -> asyncio.Task[Completed[int]]:
        """Submit an image that has to wait, and return once it does."""
        depth = self.observed.depth
        task = self.submit(item, **options)
        await asyncio.sleep(0)
        assert self.observed.depth == depth + 1
        return task

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[asyncio.Task[Completed[int]]]:
        """Hold the device, idle so far, with a batch of one image, 0, as long as the block lasts."""
        self.device.entered = threading.Semaphore(0)
        self.device.gate.clear()
        try:
            running = self.submit(0, key="hold")
            await self.device.reached()
            yield running
        finally:
            self.device.gate.set()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Self]:
        self.worker.start()
        try:
            yield self
        finally:
            self.device.gate.set()
            await self.worker.drain(PATIENCE)


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own, on which no callback may fail."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE)

        asyncio.run(watched())
        assert complaints == []

    return run


async def outcomes(*tasks: asyncio.Task[Completed[int]]) -> list[Any]:
    """Results of those that succeeded, exception types of those that failed."""
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(one) if isinstance(one, BaseException) else one.result for one in done]


class TestAnswers:
    @scenario
    async def test_each_caller_gets_its_own_result_and_times(self) -> None:
        bench = Bench()

        def slow(items: list[int]) -> list[int]:
            bench.clock.now += 2.0
            return [item * item for item in items]

        async with bench.started():
            async with bench.busy():
                first = await bench.queued(3)
                bench.clock.now += 1.0
                second = await bench.queued(4, size=(10, 20))
                bench.device.behave = slow
            # The gate opened last: the image that held the device takes two seconds too.
            assert await first == Completed(9, 2, 3.0, 2.0, arrival=0.0)
            assert await second == Completed(16, 2, 2.0, 2.0, arrival=1.0)
        assert bench.device.calls == [([0], "hold"), ([3, 4], "exact")]
        assert bench.observed.batches[1] == ("exact", 2, 0.25)
        assert bench.observed.depth == 0

    @scenario
    async def test_the_loop_goes_on_while_a_batch_runs(self) -> None:
        async with Bench().started() as bench:
            async with bench.busy() as running:
                waiting = await bench.queued(1)
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not running.done()
                assert not waiting.done()
            assert await outcomes(running, waiting) == [0, 1]

    @scenario
    async def test_images_submitted_before_the_start_wait_for_it(self) -> None:
        bench = Bench()
        tasks = [await bench.queued(item) for item in range(3)]
        assert not bench.worker.alive
        async with bench.started():
            assert bench.worker.alive
            assert await outcomes(*tasks) == [0, 1, 4]
        assert bench.device.batches == [[0, 1, 2]]

    @scenario
    async def test_an_answered_image_is_released(self) -> None:
        class Image:
            pass

        worker: InferenceWorker[Image, int] = InferenceWorker(
            lambda images, key: [1] * len(images),
            limits=BatchLimits(4, 10**9, 0),
            max_queue=4,
            observer=Observed(),
            is_out_of_memory=lambda error: False,
        )
        worker.start()
        image = Image()
        gone = threading.Event()
        weakref.finalize(image, gone.set)
        await worker.submit(image, key="exact", height=1, width=1)
        del image
        gc.collect()
        assert await asyncio.to_thread(gone.wait, PATIENCE)
        await worker.drain()


class TestAFullQueue:
    @scenario
    async def test_retry_after_follows_from_measured_batches(self) -> None:
        bench = Bench(max_queue=3, max_images=1)

        def slow(items: list[int]) -> list[int]:
            bench.clock.now += 4.0
            return items

        bench.device.behave = slow
        async with bench.started():
            await bench.submit(7)
            async with bench.busy() as running:
                for item in range(3):
                    await bench.queued(item)
                with pytest.raises(QueueFull) as refused:
                    await bench.submit(3)
                assert refused.value.headers["Retry-After"] == "16"
            await running
            assert bench.observed.times[:2] == [(4.0, 0.0), (4.0, 4.0)]

    @scenario
    async def test_large_images_make_it_longer(self) -> None:
        bench = Bench(max_queue=2, max_images=1)

        def by_rows(items: list[int]) -> list[int]:
            bench.clock.now += items[0]
            return items

        bench.device.behave = by_rows
        async with bench.started():
            await bench.submit(1, size=(10, 10))
            await bench.submit(8, size=(80, 10))
            waits = []
            for rows in (1, 8):
                bench.observed.depth = 0
                async with bench.busy():
                    waiting = [await bench.queued(rows, size=(10 * rows, 10)) for _ in range(2)]
                    with pytest.raises(QueueFull) as refused:
                        await bench.submit(1)
                    waits.append(int(refused.value.headers["Retry-After"]))
                await asyncio.gather(*waiting)
            assert waits == [3, 17]  # of two that wait and one small image that runs


class TestCancellation:
    @scenario
    async def test_a_waiting_image_never_reaches_the_device(self) -> None:
        async with Bench().started() as bench:
            async with bench.busy():
                dropped = await bench.queued(1)
                kept = await bench.queued(2)
                dropped.cancel()
                assert await outcomes(dropped) == [asyncio.CancelledError]
                assert bench.observed.depth == 1
            assert await outcomes(kept) == [4]
        assert bench.device.batches == [[0], [2]]

    @scenario
    async def test_a_running_image_finishes_and_its_result_is_dropped(self) -> None:
        async with Bench().started() as bench:
            async with bench.busy() as running:
                running.cancel()
                assert await outcomes(running) == [asyncio.CancelledError]
            assert (await bench.submit(5)).result == 25
        assert bench.observed.depth == 0

    @scenario
    async def test_a_cancelled_image_is_not_run_again(self) -> None:
        def poisoned(items: list[int]) -> list[int]:
            if len(items) > 1:
                raise ValueError("one of them")
            return items

        bench = Bench(poisoned)
        left, stayed = [await bench.queued(item) for item in (1, 2)]
        bench.device.gate.clear()
        async with bench.started():
            await bench.device.reached()
            left.cancel()
            await asyncio.wait([left])
            bench.device.gate.set()
            assert await outcomes(stayed) == [2]
        assert bench.device.batches == [[1, 2], [2]]


class TestDeadlines:
    @scenario
    async def test_an_expired_image_is_answered_while_the_device_is_busy(self) -> None:
        async with Bench().started() as bench, bench.busy() as running:
            urgent = await bench.queued(1, deadline=0.01)
            assert await outcomes(urgent) == [DeadlinePassed]  # by the loop's timer: the clock stands still
            assert not running.done()
            assert bench.observed.depth == 0

    @scenario
    async def test_a_deadline_that_passes_on_the_device_is_ignored(self) -> None:
        bench = Bench()
        bench.device.gate.clear()
        async with bench.started():
            running = bench.submit(3, deadline=0.01)
            await bench.device.reached()
            bench.clock.now = 5.0
            await asyncio.sleep(0.02)  # the timer of the deadline has fired
            bench.device.gate.set()
            assert await outcomes(running) == [9]


def fits(max_images: int) -> Callable[[list[int]], list[int]]:
    """Return the behaviour of a device with memory for this many images at once."""

    def behave(items: list[int]) -> list[int]:
        if len(items) > max_images:
            raise MemoryFull(f"{len(items)} images")
        return [item * item for item in items]

    return behave


class TestOutOfMemory:
    @scenario
    async def test_a_batch_is_halved_until_it_fits(self) -> None:
        bench = Bench(fits(2))
        tasks = [await bench.queued(item) for item in range(7)]
        async with bench.started():
            assert await outcomes(*tasks) == [item * item for item in range(7)]
            assert (await tasks[0]).batch_size == 2
        assert bench.device.batches == [
            [0, 1, 2, 3, 4, 5, 6],
            [0, 1, 2, 3],
            [0, 1],
            [2, 3],
            [4, 5, 6],
            [4, 5],
            [6],
        ]
        assert bench.observed.out_of_memory == 3
        assert [size for _, size, _ in bench.observed.batches] == [2, 2, 2, 1]

    @scenario
    async def test_only_an_image_that_never_fits_fails(self) -> None:
        def behave(items: list[int]) -> list[int]:
            if 3 in items:
                raise MemoryFull
            return items

        bench = Bench(behave)
        tasks = [await bench.queued(item) for item in range(5)]
        async with bench.started():
            assert await outcomes(*tasks) == [0, 1, 2, OutOfMemory, 4]
            assert bench.worker.alive

    @scenario
    async def test_a_failed_batch_is_released_before_the_next_try(self) -> None:
        class Tensor:
            pass

        alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
        left_over: list[int] = []

        def behave(items: list[int]) -> list[int]:
            left_over.append(len(alive))
            tensor = Tensor()
            alive.add(tensor)
            if len(items) > 1:
                try:
                    raise RuntimeError("CUDA out of memory")
                except RuntimeError as error:
                    raise MemoryFull from error
            return items

        bench = Bench(behave)
        tasks = [await bench.queued(item) for item in range(4)]
        async with bench.started():
            await outcomes(*tasks)

        assert left_over == [0] * 7


class TestFailures:
    @scenario
    async def test_only_the_image_at_fault_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        def behave(items: list[int]) -> list[int]:
            if 2 in items:
                raise ValueError("the poison of image 2")
            return [item * item for item in items]

        bench = Bench(behave)
        tasks = [await bench.queued(item) for item in range(4)]
        async with bench.started():
            assert await outcomes(*tasks) == [0, 1, InternalError, 9]
            assert (await bench.submit(5)).result == 25
        assert bench.device.batches == [[0, 1, 2, 3], [0], [1], [2], [3], [5]]
        assert bench.observed.out_of_memory == 0

        assert "the poison of image 2" in caplog.text

    @pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
    @scenario
    async def test_a_wrong_number_of_results_fails_the_batch(self, results: list[int]) -> None:
        bench = Bench(lambda items: list(results))
        tasks = [await bench.queued(item) for item in range(2)]
        async with bench.started():
            assert await outcomes(*tasks) == [InternalError, InternalError]
            assert bench.worker.alive
        assert bench.device.batches == [[0, 1]]
        assert bench.observed.batches == []


class TestDeath:
    @pytest.mark.parametrize("death", [WorkerDead("the device fell off"), SystemExit(1)])
    @scenario
    async def test_waiting_and_running_images_are_answered(self, death: BaseException, caplog: Any) -> None:
        def behave(items: list[int]) -> list[int]:
            raise death

        bench = Bench(behave)
        async with bench.started():
            async with bench.busy() as running:
                waiting = await bench.queued(1)
                assert bench.worker.alive
            assert await outcomes(running, waiting) == [WorkerDead, WorkerDead]
            assert not bench.worker.alive
            assert bench.observed.depth == 0
            assert await outcomes(bench.submit(2)) == [WorkerDead]
        assert bench.device.batches == [[0]]

        assert "an inference thread died" in caplog.text

    @scenario
    async def test_the_worker_is_dead_before_any_caller_is_answered(self) -> None:
        def behave(items: list[int]) -> list[int]:
            raise WorkerDead

        bench = Bench(behave)
        reports: list[tuple[int, bool]] = []
        bench.observed.on_queue_depth = lambda n: reports.append((n, bench.worker.alive))  # type: ignore[method-assign]
        async with bench.started():
            assert await outcomes(bench.submit(1)) == [WorkerDead]
        # Put, taken, and abandoned: the last is reported before any caller is answered.
        assert reports == [(1, True), (0, True), (0, False)]


class TestSetUp:
    @scenario
    async def test_it_runs_on_the_workers_thread_before_any_batch(self) -> None:
        threads = []
        bench = Bench(set_up=lambda _: threads.append(threading.current_thread().name))
        waiting = await bench.queued(3)
        await asyncio.wrap_future(bench.worker.start())
        assert (await waiting).result == 9
        assert threads == ["inference-0"]
        await bench.worker.drain(PATIENCE)

    @scenario
    async def test_a_worker_whose_set_up_fails_is_dead(self) -> None:
        bench = Bench(set_up=lambda _: 1 // 0)
        waiting = await bench.queued(1)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(bench.worker.start())
        assert await outcomes(waiting, bench.submit(2)) == [WorkerDead, WorkerDead]
        assert not bench.worker.alive
        await bench.worker.drain(PATIENCE)


class TestStreams:
    @scenario
    async def test_each_runs_a_batch_while_the_others_do(self) -> None:
        bench = Bench(max_images=1, streams=3)
        bench.device.gate.clear()
        async with bench.started():
            running = [bench.submit(item) for item in (1, 2, 3)]
            for _ in running:
                await bench.device.reached()
            waiting = await bench.queued(4)
            bench.device.gate.set()
            assert await outcomes(*running, waiting) == [1, 4, 9, 16]

    @scenario
    async def test_a_batch_that_waits_for_more_holds_up_no_other_key(self) -> None:
        """One thread waits out the window of a key; an image of another key goes to the other thread at once."""
        bench = Bench(max_images=2, max_delay=PATIENCE, streams=2)
        async with bench.started():
            waiting = await bench.queued(1, key="slow")
            other = bench.submit(2, key="other")
            assert await outcomes(waiting) == [1]  # its window ends: it would delay the other
            partner = bench.submit(3, key="other")
            assert await outcomes(other, partner) == [4, 9]

    @scenario
    async def test_each_is_set_up_on_its_own_thread_before_the_worker_is_ready(self) -> None:
        seen = []
        bench = Bench(set_up=lambda stream: seen.append((stream, threading.current_thread().name)), streams=2)
        await asyncio.wrap_future(bench.worker.start())
        assert sorted(seen) == [(0, "inference-0"), (1, "inference-1")]
        await bench.worker.drain(PATIENCE)

    @scenario
    async def test_one_that_cannot_be_set_up_ends_the_worker(self) -> None:
        bench = Bench(set_up=lambda own: 1 // (1 - own), streams=2)
        waiting = await bench.queued(1)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(bench.worker.start())
        assert (await outcomes(waiting))[0] in (1, WorkerDead)  # the other may have run it before
        assert not bench.worker.alive
        assert await outcomes(bench.submit(2)) == [WorkerDead]
        await bench.worker.drain(PATIENCE)

    @scenario
    async def test_one_that_dies_ends_all_and_every_caller_is_answered(self) -> None:
        def behave(items: list[int]) -> list[int]:
            if items == [13]:
                raise WorkerDead
            return [item**2 for item in items]

        bench = Bench(behave, max_images=1, streams=2)
        bench.device.gate.clear()
        async with bench.started():
            tasks = [bench.submit(1), bench.submit(13)]
            for _ in tasks:
                await bench.device.reached()
            tasks.append(await bench.queued(2))
            bench.device.gate.set()
            first, *others = await outcomes(*tasks)
            assert first in (1, WorkerDead)  # it may be done before the other dies
            assert others == [WorkerDead, WorkerDead] or others == [WorkerDead, 4]
            assert await outcomes(bench.submit(3)) == [WorkerDead]
            assert not bench.worker.alive

    @scenario
    async def test_the_estimated_wait_is_shared_by_the_streams(self) -> None:
        one, two = Bench(max_images=1), Bench(max_images=1, streams=2)
        for bench in (one, two):
            bench.worker._costs.assume(100, 1.0)
            waiting = [await bench.queued(item) for item in range(4)]
            assert bench.worker.backlog.images == 4
            for task in waiting:
                task.add_done_callback(lambda task: task.exception())
        assert one.worker.backlog.wait() == 4.0
        assert two.worker.backlog.wait() == 2.0
        for bench in (one, two):
            await bench.worker.drain()


class Spare:
    """Spare work that goes on until it has to make way for an image, or dies."""

    def __init__(self, death: BaseException | None = None) -> None:
        self.ready = True
        self.death = death
        self.bench: Bench | None = None
        self.began = threading.Semaphore(0)
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        self.began.release()
        if self.death is not None:
            raise self.death
        assert self.bench is not None
        for _ in range(int(PATIENCE / PAUSE)):
            if self.bench.worker.backlog.crowded():
                return
            time.sleep(PAUSE)
        raise AssertionError("nothing made it end")


@asynccontextmanager
async def sparing(streams: int = 1, death: BaseException | None = None) -> AsyncIterator[tuple[Bench, Spare]]:
    """Start a worker that does spare work, as soon as that runs."""
    spare = Spare(death)
    spare.bench = Bench(spare=spare, streams=streams)
    async with spare.bench.started() as bench:
        assert await asyncio.to_thread(spare.began.acquire, timeout=PATIENCE)
        yield bench, spare


class TestSpareWork:
    @scenario
    async def test_an_image_that_comes_is_answered_and_then_it_goes_on(self) -> None:
        async with sparing() as (bench, spare):
            assert await outcomes(bench.submit(3)) == [9]
            assert await asyncio.to_thread(spare.began.acquire, timeout=PATIENCE)
            assert await outcomes(bench.submit(4)) == [16]
            assert spare.runs >= 2

    @scenario
    async def test_nothing_is_learnt_or_reported_of_it(self) -> None:
        async with sparing() as (bench, _):
            assert (bench.worker.backlog.images, bench.worker.backlog.wait()) == (0, 0)
            assert bench.observed.batches == []
            assert bench.worker._costs.mean == 0

    @scenario
    async def test_with_several_streams_an_image_finds_one_free(self) -> None:
        async with sparing(streams=2) as (bench, spare):
            assert await outcomes(bench.submit(3)) == [9]
            assert not bench.worker.backlog.crowded()
            assert spare.runs == 1

    @scenario
    async def test_there_is_none_while_it_is_not_ready(self) -> None:
        async with sparing() as (bench, spare):
            spare.ready = False
            assert await outcomes(bench.submit(3), bench.submit(4)) == [9, 16]
            assert spare.runs == 1

    @scenario
    async def test_a_device_that_fails_in_it_ends_the_worker(self) -> None:
        async with sparing(death=WorkerDead()) as (bench, _):
            assert await outcomes(bench.submit(1)) == [WorkerDead]
            assert not bench.worker.alive

    @scenario
    async def test_a_drain_does_not_wait_for_it(self) -> None:
        async with sparing() as (bench, spare):
            await bench.worker.drain()
            assert spare.runs == 1


class TestDrain:
    @scenario
    async def test_accepted_images_are_answered_and_new_ones_refused(self) -> None:
        bench = Bench(max_images=2)
        bench.worker.start()
        async with bench.busy() as running:
            waiting = [await bench.queued(item) for item in range(1, 6)]
            draining = asyncio.create_task(bench.worker.drain())
            await asyncio.sleep(0)
            assert bench.worker.alive
            assert await outcomes(bench.submit(9)) == [Draining]
        await draining
        assert await outcomes(running, *waiting) == [0, 1, 4, 9, 16, 25]
        assert not bench.worker.alive
        assert bench.device.batches == [[0], [1, 2], [3, 4], [5]]
        await bench.worker.drain()

    @scenario
    async def test_a_drain_that_times_out_answers_the_rest(self) -> None:
        async with Bench().started() as bench, bench.busy() as running:
            waiting = await bench.queued(1)
            with pytest.raises(TimeoutError):
                await bench.worker.drain(timeout=0.01)
            assert await outcomes(running, waiting) == [Draining, Draining]
        assert bench.device.batches == [[0]]

    @scenario
    async def test_a_cancelled_drain_leaves_the_worker_to_finish(self) -> None:
        async with Bench().started() as bench:
            async with bench.busy() as running:
                draining = asyncio.create_task(bench.worker.drain())
                await asyncio.sleep(0)
                draining.cancel()
                await asyncio.wait([draining])
            assert await outcomes(running) == [0]

    @scenario
    async def test_a_worker_that_never_started_answers(self) -> None:
        bench = Bench()
        waiting = await bench.queued(1)
        await bench.worker.drain()
        assert await outcomes(waiting, bench.submit(2)) == [Draining, Draining]


def test_a_loop_that_has_closed_does_not_kill_the_worker() -> None:
    bench = Bench()
    bench.device.gate.clear()
    bench.worker.start()
    abandoned = asyncio.new_event_loop()
    task = abandoned.create_task(bench.worker.submit(1, key="exact", height=1, width=1))
    abandoned.run_until_complete(bench.device.reached())
    abandoned.run_until_complete(abandoned.shutdown_default_executor())
    abandoned.close()
    bench.device.gate.set()

    @scenario
    async def others_are_answered() -> None:
        assert (await bench.submit(4)).result == 16
        assert bench.worker.alive
        await bench.worker.drain()

    others_are_answered()
    assert not task.done()
    task._log_destroy_pending = False
