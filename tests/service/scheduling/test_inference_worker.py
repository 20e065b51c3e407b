"""The worker with its real thread and a real event loop. `run` is held up by gates, never by sleeping."""

import asyncio
import gc
import logging
import threading
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
    batches: list[tuple[Hashable, int, float, list[float], float]] = field(default_factory=list)
    out_of_memory: list[tuple[Hashable, int]] = field(default_factory=list)
    depth: int = 0
    cancelled: int = 0
    deadlines: int = 0

    def on_queue_depth(self, n: int) -> None:
        self.depth = n

    def on_cancelled(self) -> None:
        self.cancelled += 1

    def on_deadline(self) -> None:
        self.deadlines += 1

    def on_batch(
        self,
        key: Hashable,
        size: int,
        padding_ratio: float,
        queue_seconds: Sequence[float],
        inference_seconds: float,
    ) -> None:
        self.batches.append((key, size, padding_ratio, list(queue_seconds), inference_seconds))

    def on_out_of_memory(self, key: Hashable, size: int) -> None:
        self.out_of_memory.append((key, size))


class Device:
    """A stand-in for the detector: squares numbers, remembers its batches, waits at a gate when told to."""

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
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.device = Device(behave)
        self.observed = Observed()
        self.clock = clock or Clock()
        self.worker: InferenceWorker[int, int] = InferenceWorker(
            self.device.run,
            limits=BatchLimits(max_images, 10**9, max_delay),
            max_queue=max_queue,
            observer=self.observed,
            clock=self.clock,
            is_out_of_memory=lambda error: isinstance(error, MemoryFull),
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

    async def submit_and_wait_in_line(self, item: int, **options: Any) -> asyncio.Task[Completed[int]]:
        """Submit an image that has to wait, and return once it does."""
        depth = self.worker.depth
        task = self.submit(item, **options)
        await asyncio.sleep(0)
        assert self.worker.depth == depth + 1
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


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Play a scenario on a loop of its own, on which no callback may fail."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await asyncio.wait_for(scenario, PATIENCE)

    asyncio.run(watched())
    assert complaints == []


async def outcomes(*tasks: asyncio.Task[Completed[int]]) -> list[Any]:
    """Results of those that succeeded, exception types of those that failed."""
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(one) if isinstance(one, BaseException) else one.result for one in done]


class TestAnswers:
    def test_each_caller_gets_its_own_with_its_times(self) -> None:
        async def scenario() -> None:
            clock = Clock()
            bench = Bench(clock=clock)

            def slow(items: list[int]) -> list[int]:
                clock.now += 2.0
                return [item * item for item in items]

            async with bench.started():
                async with bench.busy():
                    first = await bench.submit_and_wait_in_line(3)
                    clock.now += 1.0
                    second = await bench.submit_and_wait_in_line(4, size=(10, 20))
                    bench.device.behave = slow
                # The gate opened last: the image that held the device takes two seconds too.
                assert await first == Completed(9, 2, 3.0, 2.0)
                assert await second == Completed(16, 2, 2.0, 2.0)
            assert bench.device.calls == [([0], "hold"), ([3, 4], "exact")]
            assert bench.observed.batches[1] == ("exact", 2, 0.25, [3.0, 2.0], 2.0)
            assert bench.observed.depth == 0

        run(scenario())

    def test_keys_never_share_a_batch(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                async with bench.busy():
                    tasks = [await bench.submit_and_wait_in_line(item, key=("act", item % 2)) for item in range(1, 7)]
                assert await outcomes(*tasks) == [1, 4, 9, 16, 25, 36]
            assert bench.device.calls[1:] == [([1, 3, 5], ("act", 1)), ([2, 4, 6], ("act", 0))]

        run(scenario())

    def test_hundreds_of_callers_at_once(self) -> None:
        async def scenario() -> None:
            async with Bench(max_images=7, max_queue=500).started() as bench:
                tasks = [bench.submit(item, key=item % 3, size=(10, 10 + item % 5)) for item in range(500)]
                assert await outcomes(*tasks) == [item * item for item in range(500)]
            assert sorted(item for batch in bench.device.batches for item in batch) == list(range(500))
            assert all(item % 3 == key for batch, key in bench.device.calls for item in batch)
            assert sum(size for _, size, *_ in bench.observed.batches) == 500

        run(scenario())

    def test_the_loop_goes_on_while_a_batch_runs(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                async with bench.busy() as running:
                    waiting = await bench.submit_and_wait_in_line(1)
                    for _ in range(100):
                        await asyncio.sleep(0)
                    assert not running.done()
                    assert not waiting.done()
                assert await outcomes(running, waiting) == [0, 1]

        run(scenario())

    def test_images_submitted_before_the_start_wait_for_it(self) -> None:
        async def scenario() -> None:
            bench = Bench()
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(3)]
            assert not bench.worker.alive
            async with bench.started():
                assert bench.worker.alive
                assert await outcomes(*tasks) == [0, 1, 4]
            assert bench.device.batches == [[0, 1, 2]]

        run(scenario())

    def test_a_window_gathers_a_batch_and_a_full_one_ends_it(self) -> None:
        async def scenario() -> None:
            async with Bench(max_images=3, max_delay=3600.0).started() as bench:
                tasks = [bench.submit(item) for item in range(3)]
                assert await outcomes(*tasks) == [0, 1, 4]
            assert bench.device.batches == [[0, 1, 2]]

        run(scenario())

    def test_nothing_of_an_answered_image_is_kept(self) -> None:
        class Image:
            pass

        async def scenario() -> None:
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

        run(scenario())


class TestAFullQueue:
    def test_refuses_with_a_time_computed_from_what_was_measured(self) -> None:
        async def scenario() -> None:
            clock = Clock()
            bench = Bench(max_queue=3, max_images=1, clock=clock)

            def slow(items: list[int]) -> list[int]:
                clock.now += 4.0
                return items

            bench.device.behave = slow
            async with bench.started():
                await bench.submit(7)
                async with bench.busy():
                    for item in range(3):
                        await bench.submit_and_wait_in_line(item)
                    with pytest.raises(QueueFull) as refused:
                        await bench.submit(3)
                    assert refused.value.headers["Retry-After"] == "16"

        run(scenario())


class TestCancellation:
    def test_a_waiting_image_never_reaches_the_device(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                async with bench.busy():
                    dropped = await bench.submit_and_wait_in_line(1)
                    kept = await bench.submit_and_wait_in_line(2)
                    dropped.cancel()
                    assert await outcomes(dropped) == [asyncio.CancelledError]
                    assert (bench.worker.depth, bench.observed.cancelled) == (1, 1)
                assert await outcomes(kept) == [4]
            assert bench.device.batches == [[0], [2]]

        run(scenario())

    def test_a_running_image_finishes_and_its_answer_goes_nowhere(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                async with bench.busy() as running:
                    running.cancel()
                    assert await outcomes(running) == [asyncio.CancelledError]
                assert (await bench.submit(5)).result == 25
            assert bench.worker.depth == bench.observed.cancelled == 0

        run(scenario())

    def test_an_image_whose_caller_left_is_not_tried_again(self) -> None:
        async def scenario() -> None:
            def poisoned(items: list[int]) -> list[int]:
                if len(items) > 1:
                    raise ValueError("one of them")
                return items

            bench = Bench(poisoned)
            left, stayed = [await bench.submit_and_wait_in_line(item) for item in (1, 2)]
            bench.device.gate.clear()
            async with bench.started():
                await bench.device.reached()
                left.cancel()
                await asyncio.wait([left])
                bench.device.gate.set()
                assert await outcomes(stayed) == [2]
            assert bench.device.batches == [[1, 2], [2]]

        run(scenario())


class TestDeadlines:
    def test_one_that_has_passed_is_refused(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                assert await outcomes(bench.submit(1, deadline=0.0)) == [DeadlinePassed]
            assert bench.device.batches == []
            assert bench.observed.deadlines == 1

        run(scenario())

    def test_one_that_passes_in_the_queue_costs_no_device_time(self) -> None:
        async def scenario() -> None:
            clock = Clock()
            async with Bench(clock=clock).started() as bench:
                async with bench.busy():
                    hurried = await bench.submit_and_wait_in_line(1, deadline=1000.0)
                    patient = await bench.submit_and_wait_in_line(2, deadline=1001.0)
                    clock.now = 1000.0
                assert await outcomes(hurried, patient) == [DeadlinePassed, 4]
            assert bench.device.batches == [[0], [2]]
            assert bench.observed.deadlines == 1

        run(scenario())

    def test_the_answer_does_not_wait_for_the_device(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench, bench.busy() as running:
                hurried = await bench.submit_and_wait_in_line(1, deadline=0.01)
                assert await outcomes(hurried) == [DeadlinePassed]  # by the loop's timer: the clock stands still
                assert not running.done()
                assert bench.worker.depth == 0

        run(scenario())

    def test_one_that_passes_on_the_device_does_not_count(self) -> None:
        async def scenario() -> None:
            clock = Clock()
            bench = Bench(clock=clock)
            bench.device.gate.clear()
            async with bench.started():
                running = bench.submit(3, deadline=0.01)
                await bench.device.reached()
                clock.now = 5.0
                await asyncio.sleep(0.02)  # the timer of the deadline has fired
                bench.device.gate.set()
                assert await outcomes(running) == [9]
            assert bench.observed.deadlines == 0

        run(scenario())


def fits(most: int) -> Callable[[list[int]], list[int]]:
    """A device with memory for so many images at once."""

    def behave(items: list[int]) -> list[int]:
        if len(items) > most:
            raise MemoryFull(f"{len(items)} images")
        return [item * item for item in items]

    return behave


class TestOutOfMemory:
    def test_the_batch_is_halved_until_it_fits_and_all_are_answered(self) -> None:
        async def scenario() -> None:
            bench = Bench(fits(2))
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(7)]
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
            assert bench.observed.out_of_memory == [("exact", 7), ("exact", 4), ("exact", 3)]
            assert [size for _, size, *_ in bench.observed.batches] == [2, 2, 2, 1]

        run(scenario())

    def test_later_batches_of_that_key_and_size_stay_smaller(self) -> None:
        async def scenario() -> None:
            async with Bench(fits(3)).started() as bench:
                async with bench.busy():
                    tasks = [await bench.submit_and_wait_in_line(item) for item in range(1, 7)]
                await outcomes(*tasks)
                del bench.device.calls[:]
                bench.device.behave = fits(100)
                async with bench.busy():
                    capped = [await bench.submit_and_wait_in_line(item) for item in range(6)]
                    other_key = [await bench.submit_and_wait_in_line(item, key="act") for item in range(6)]
                    smaller = [await bench.submit_and_wait_in_line(item, size=(5, 5)) for item in range(6)]
                await outcomes(*capped, *other_key, *smaller)
            assert [len(items) for items, key in bench.device.calls if key == "act"] == [6]
            exact = [items for items, key in bench.device.calls if key == "exact"]
            assert exact == [[0, 1, 2], [3, 4, 5], [0, 1, 2, 3, 4, 5]]

        run(scenario())

    def test_an_image_that_fits_not_even_alone_fails_alone(self) -> None:
        async def scenario() -> None:
            def behave(items: list[int]) -> list[int]:
                if 3 in items:
                    raise MemoryFull
                return items

            bench = Bench(behave)
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(5)]
            async with bench.started():
                assert await outcomes(*tasks) == [0, 1, 2, OutOfMemory, 4]
                assert bench.worker.alive

        run(scenario())

    def test_the_memory_of_the_failed_batch_is_free_before_the_next_try(self) -> None:
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

        async def scenario() -> None:
            bench = Bench(behave)
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(4)]
            async with bench.started():
                await outcomes(*tasks)

        run(scenario())
        assert left_over == [0] * 7


class TestFailures:
    def test_a_poisonous_image_fails_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        def behave(items: list[int]) -> list[int]:
            if 2 in items:
                raise ValueError("the poison of image 2")
            return [item * item for item in items]

        async def scenario() -> None:
            bench = Bench(behave)
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(4)]
            async with bench.started():
                assert await outcomes(*tasks) == [0, 1, InternalError, 9]
                assert (await bench.submit(5)).result == 25
            assert bench.device.batches == [[0, 1, 2, 3], [0], [1], [2], [3], [5]]
            assert bench.observed.out_of_memory == []

        with caplog.at_level(logging.ERROR):
            run(scenario())
        assert "the poison of image 2" in caplog.text

    def test_the_caller_learns_nothing_of_the_reason(self) -> None:
        def behave(items: list[int]) -> list[int]:
            raise ValueError("/secret/path")

        async def scenario() -> None:
            async with Bench(behave).started() as bench:
                with pytest.raises(InternalError) as failed:
                    await bench.submit(1)
                assert "secret" not in str(failed.value.problem())

        run(scenario())

    @pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
    def test_a_wrong_number_of_results_fails_the_batch(self, results: list[int]) -> None:
        async def scenario() -> None:
            bench = Bench(lambda items: list(results))
            tasks = [await bench.submit_and_wait_in_line(item) for item in range(2)]
            async with bench.started():
                assert await outcomes(*tasks) == [InternalError, InternalError]
                assert bench.worker.alive
            assert bench.device.batches == [[0, 1]]
            assert bench.observed.batches == []

        run(scenario())


class TestDeath:
    @pytest.mark.parametrize("death", [WorkerDead("the device fell off"), SystemExit(1)])
    def test_all_that_wait_and_run_are_answered(self, death: BaseException, caplog: Any) -> None:
        def behave(items: list[int]) -> list[int]:
            raise death

        async def scenario() -> None:
            bench = Bench(behave)
            async with bench.started():
                async with bench.busy() as running:
                    waiting = await bench.submit_and_wait_in_line(1)
                    assert bench.worker.alive
                assert await outcomes(running, waiting) == [WorkerDead, WorkerDead]
                assert not bench.worker.alive
                assert bench.worker.depth == bench.observed.depth == 0
                assert await outcomes(bench.submit(2)) == [WorkerDead]
            assert bench.device.batches == [[0]]

        run(scenario())
        assert "the inference thread died" in caplog.text

    def test_no_caller_hears_of_it_while_the_worker_still_seems_alive(self) -> None:
        def behave(items: list[int]) -> list[int]:
            raise WorkerDead

        async def scenario() -> None:
            bench = Bench(behave)
            seen: list[tuple[int, bool]] = []
            bench.observed.on_queue_depth = lambda n: seen.append((n, bench.worker.alive))  # type: ignore[method-assign]
            async with bench.started():
                assert await outcomes(bench.submit(1)) == [WorkerDead]
            # Put, taken, and abandoned: the last is reported before anybody is answered.
            assert seen == [(1, True), (0, True), (0, False)]

        run(scenario())

    def test_a_loop_that_has_closed_does_not_kill_the_worker(self) -> None:
        bench = Bench()
        bench.device.gate.clear()
        bench.worker.start()
        abandoned = asyncio.new_event_loop()
        task = abandoned.create_task(bench.worker.submit(1, key="exact", height=1, width=1))
        abandoned.run_until_complete(bench.device.reached())
        abandoned.run_until_complete(abandoned.shutdown_default_executor())
        abandoned.close()
        bench.device.gate.set()

        async def scenario() -> None:
            assert (await bench.submit(4)).result == 16
            assert bench.worker.alive
            await bench.worker.drain()

        run(scenario())
        assert not task.done()
        task._log_destroy_pending = False


class TestDrain:
    def test_all_that_was_accepted_is_answered_and_nothing_more_is_accepted(self) -> None:
        async def scenario() -> None:
            bench = Bench(max_images=2)
            bench.worker.start()
            async with bench.busy() as running:
                waiting = [await bench.submit_and_wait_in_line(item) for item in range(1, 6)]
                draining = asyncio.create_task(bench.worker.drain())
                await asyncio.sleep(0)
                assert bench.worker.draining
                assert bench.worker.alive
                assert await outcomes(bench.submit(9)) == [Draining]
            await draining
            assert await outcomes(running, *waiting) == [0, 1, 4, 9, 16, 25]
            assert not bench.worker.alive
            assert bench.device.batches == [[0], [1, 2], [3, 4], [5]]
            await bench.worker.drain()

        run(scenario())

    def test_a_window_is_not_waited_out(self) -> None:
        async def scenario() -> None:
            bench = Bench(max_delay=3600.0)
            task = await bench.submit_and_wait_in_line(3)
            bench.worker.start()
            await bench.worker.drain()
            assert await outcomes(task) == [9]

        run(scenario())

    def test_one_that_takes_too_long_answers_what_is_left(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench, bench.busy() as running:
                waiting = await bench.submit_and_wait_in_line(1)
                with pytest.raises(TimeoutError):
                    await bench.worker.drain(timeout=0.01)
                assert await outcomes(running, waiting) == [Draining, Draining]
            assert bench.device.batches == [[0]]

        run(scenario())

    def test_a_cancelled_drain_leaves_the_worker_to_finish(self) -> None:
        async def scenario() -> None:
            async with Bench().started() as bench:
                async with bench.busy() as running:
                    draining = asyncio.create_task(bench.worker.drain())
                    await asyncio.sleep(0)
                    draining.cancel()
                    await asyncio.wait([draining])
                assert await outcomes(running) == [0]

        run(scenario())

    def test_a_worker_that_was_never_started_answers_too(self) -> None:
        async def scenario() -> None:
            bench = Bench()
            waiting = await bench.submit_and_wait_in_line(1)
            await bench.worker.drain()
            assert await outcomes(waiting, bench.submit(2)) == [Draining, Draining]

        run(scenario())


def test_a_worker_starts_once() -> None:
    async def scenario() -> None:
        async with Bench().started() as bench:
            with pytest.raises(RuntimeError):
                bench.worker.start()

    run(scenario())
