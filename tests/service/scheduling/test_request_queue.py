"""The queue on a clock that the tests turn; one class has a second thread."""

import threading
from collections.abc import Callable, Hashable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import DeadlinePassed, Draining, QueueFull, ServiceError, WorkerDead
from service.scheduling.batcher import BatchLimits, Job
from service.scheduling.costs import CostModel
from service.scheduling.request_queue import RequestQueue, time_until_free


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Observed:
    def __init__(self) -> None:
        self.depths = [0]

    def on_queue_depth(self, n: int) -> None:
        self.depths.append(n)


class Spare:
    """Work for idle takers, always as much as they like."""

    ready = True

    def run(self) -> None:
        raise AssertionError("the queue runs nothing")


class Bench:
    """A queue with its clock, its observer, and the answers that its jobs were given."""

    def __init__(
        self,
        max_queue: int = 100,
        max_images: int = 4,
        max_delay: float = 0.0,
        takers: int = 1,
        spare: Spare | None = None,
    ) -> None:
        self.clock = Clock()
        self.costs = CostModel()
        self.observed = Observed()
        self.answers: dict[int, ServiceError] = {}
        self.queue: RequestQueue[int, object] = RequestQueue(
            BatchLimits(max_images, 10**9, max_delay), max_queue, self.observed, self.clock, self.costs, takers, spare
        )

    @property
    def depth(self) -> int:
        return self.observed.depths[-1]

    def job(
        self, item: int, key: Hashable = "exact", deadline: float | None = None, height: int = 10
    ) -> Job[int, object]:
        def done(answer: object) -> None:
            assert isinstance(answer, ServiceError)
            assert item not in self.answers
            self.answers[item] = answer

        return Job(item, key, height, 10, self.clock.now, deadline, done)

    def put(
        self, item: int, key: Hashable = "exact", deadline: float | None = None, height: int = 10
    ) -> Job[int, object]:
        job = self.job(item, key, deadline, height)
        self.queue.put(job)
        return job

    def learn(self, seconds: float, images: int = 1, height: int = 10) -> None:
        """Teach the queue what images of 10 pixels' width take."""
        self.costs.record("exact", [height * 10] * images, seconds)

    def take(self, taker: int = 0) -> list[int] | None:
        batch = self.queue.take(taker)
        return None if batch is None else [job.item for job in batch]


class TestSpareWork:
    def test_a_taker_gets_it_only_while_nothing_waits(self) -> None:
        bench = Bench(spare=Spare())
        assert bench.take() == []
        bench.put(0)
        assert bench.queue.crowded()
        assert bench.take() == [0]
        assert bench.take() == []

    def test_it_is_neither_in_the_backlog_nor_in_the_wait(self) -> None:
        bench = Bench(spare=Spare())
        bench.learn(4.0)
        assert bench.take() == []
        assert (bench.queue.images, bench.queue.wait()) == (0, 0)
        bench.put(0)
        assert bench.queue.wait() == 4

    def test_it_has_to_make_way_for_what_comes_where_no_taker_is_idle(self) -> None:
        bench = Bench(spare=Spare())
        bench.take()
        assert not bench.queue.crowded()
        assert bench.queue.crowded(1)

    def test_it_leaves_one_of_several_takers_idle(self, wait_until: Callable[..., None]) -> None:
        bench = Bench(takers=2, spare=Spare())
        took: list[tuple[int, list[int] | None]] = []
        threads = [threading.Thread(target=lambda i=i: took.append((i, bench.take(i)))) for i in range(2)]
        threads[0].start()
        wait_until(lambda: bench.queue._idle == {0})
        assert took == []  # alone in `take`, for all that is known the other is busy
        threads[1].start()
        wait_until(lambda: len(took) == 1)
        assert took[0][1] == []
        assert len(bench.queue._idle) == 1
        assert not bench.queue.crowded(1)
        assert bench.queue.crowded(2)
        bench.queue.close(Draining)
        for thread in threads:
            thread.join(10)
        assert [batch for _, batch in took] == [[], None]

    def test_there_is_none_after_the_end(self) -> None:
        bench = Bench(spare=Spare())
        bench.queue.close(Draining)
        assert bench.queue.crowded()
        assert bench.take() is None


class TestAdmission:
    def test_retry_after_is_the_measured_time_of_what_waits(self) -> None:
        bench = Bench(max_queue=3)
        bench.learn(6.0, images=4)
        for item in range(3):
            bench.put(item)
        with pytest.raises(QueueFull) as refused:
            bench.put(3)
        assert refused.value.retry_after == 5  # 3 x 6 / 4 = 4.5, rounded up

    def test_retry_after_grows_with_the_cost_of_what_waits_not_with_its_number(self) -> None:
        waits = []
        for heights in ([10, 10, 10], [80, 10, 10], [80, 80, 80]):
            bench = Bench(max_queue=3)
            bench.learn(1.0, height=10)
            bench.learn(8.0, height=80)
            for item, height in enumerate(heights):
                bench.put(item, height=height)
            with pytest.raises(QueueFull) as refused:
                bench.put(3)
            waits.append(refused.value.retry_after)
        assert waits == [3, 10, 24]

    def test_retry_after_is_a_second_before_anything_is_measured(self) -> None:
        bench = Bench(max_queue=1)
        bench.put(0)
        with pytest.raises(QueueFull) as refused:
            bench.put(1)
        assert refused.value.headers["Retry-After"] == "1"

    def test_what_is_left_of_running_jobs_is_part_of_the_wait(self) -> None:
        bench = Bench(max_queue=2, max_images=1)
        bench.learn(2.0)
        bench.put(0)
        assert bench.take() == [0]
        bench.put(1)
        bench.put(2)
        assert (bench.queue.room, bench.queue.images, bench.queue.wait()) == (0, 3, 6.0)
        bench.clock.now = 1.5
        assert bench.queue.wait() == 4.5
        bench.clock.now = 9.0  # it takes longer than expected
        assert bench.queue.wait() == 4.0
        with pytest.raises(QueueFull) as refused:
            bench.put(3)
        assert refused.value.retry_after == 4

    def test_a_wait_too_long_for_the_deadline_refuses(self) -> None:
        bench = Bench(max_queue=9)
        bench.learn(2.0)
        for item in range(3):
            bench.put(item)
        bench.put(3, deadline=bench.clock() + 7.6)  # 6 s of work, times the safety factor
        with pytest.raises(QueueFull, match="deadline allows") as refused:
            bench.put(4, deadline=bench.clock() + 7.6)
        assert refused.value.retry_after == 3  # 8 s of work times the safety factor, less 7.6, rounded up
        assert bench.depth == 4

    def test_a_free_device_takes_what_takes_longer_than_its_deadline(self) -> None:
        bench = Bench()
        bench.learn(3600.0)
        bench.put(0, deadline=1.0)
        assert bench.take() == [0]

    def test_images_of_unknown_cost_count_with_the_mean(self) -> None:
        bench = Bench()
        bench.learn(2.0)
        assert (bench.queue.wait(), bench.queue.wait(unknown=3)) == (0.0, 6.0)

    def test_what_leaves_the_queue_leaves_the_wait(self) -> None:
        bench = Bench(max_images=1)
        bench.learn(2.0)
        jobs = [bench.put(item) for item in range(4)]
        bench.queue.cancel(jobs[1])
        bench.queue.expire(jobs[2])
        bench.queue.expire(jobs[2])
        assert bench.queue.wait() == 4.0
        bench.queue.abandon(Draining)
        assert (bench.queue.images, bench.queue.wait()) == (0, 0.0)


class TestSeveralTakers:
    def test_the_next_job_begins_where_a_taker_is_free_first(self) -> None:
        bench = Bench(takers=2, max_images=1)
        bench.learn(1.0, height=10)
        bench.learn(8.0, height=80)
        bench.put(0, height=80)
        assert bench.take(0) == [0]
        assert bench.queue.wait() == 0.0  # the other is idle
        bench.put(1, deadline=0.5)
        assert bench.take(1) == [1]
        assert bench.queue.wait() == 1.0
        bench.put(2)
        assert bench.queue.wait() == 2.0
        for item in range(3, 12):
            bench.put(item)
        assert bench.queue.wait() == 9.5  # 10 small ones, and 9 s that run: shared evenly

    @pytest.mark.parametrize(
        ("busy", "work", "seconds"),
        [([0.0], 0.0, 0.0), ([2.0], 3.0, 5.0), ([2.0, 0.0], 0.0, 0.0), ([2.0, 0.0], 1.0, 1.0), ([2.0, 1.0], 3.0, 3.0)],
    )
    def test_work_is_shared_evenly(self, busy: list[float], work: float, seconds: float) -> None:
        assert time_until_free(busy, work) == seconds

    @given(
        st.lists(st.floats(0, 100), min_size=1, max_size=5),
        st.lists(st.floats(0.01, 100), max_size=20),
    )
    def test_jobs_handed_out_whole_leave_one_free_no_later(self, busy: list[float], jobs: list[float]) -> None:
        loads = list(busy)
        for seconds in jobs:
            loads[loads.index(min(loads))] += seconds
        assert min(loads) <= time_until_free(busy, sum(jobs)) * (1 + 1e-9)


class TestSize:
    @pytest.mark.parametrize("max_queue", [0, -1])
    def test_a_queue_without_room_is_an_error(self, max_queue: int) -> None:
        with pytest.raises(ValueError, match="max_queue"):
            Bench(max_queue=max_queue)


class TestDeadlines:
    def test_a_job_that_comes_too_late_is_refused(self) -> None:
        bench = Bench()
        bench.clock.now = 5.0
        with pytest.raises(DeadlinePassed):
            bench.put(0, deadline=5.0)
        assert bench.depth == 0

    def test_only_waiting_jobs_expire(self) -> None:
        bench = Bench(max_images=1)
        running, waiting = bench.put(0, deadline=1.0), bench.put(1, deadline=1.0)
        assert bench.take() == [0]
        bench.queue.expire(running)
        bench.queue.expire(waiting)
        bench.queue.expire(waiting)
        assert list(bench.answers) == [1]
        assert bench.depth == 0


class TestCancellation:
    def test_a_running_job_is_marked(self) -> None:
        bench = Bench()
        running = bench.put(0)
        bench.take()
        bench.queue.cancel(running)
        assert running.cancelled


class TestClosing:
    def test_a_closed_queue_hands_out_its_jobs_and_then_nothing(self) -> None:
        bench = Bench(max_images=2, max_delay=60.0)
        for item in range(3):
            bench.put(item)
        bench.queue.close(Draining)
        with pytest.raises(Draining):
            bench.put(3)
        assert [bench.take(), bench.take(), bench.take()] == [[0, 1], [2], None]  # the window is not waited out

    def test_abandon_answers_waiting_and_running_jobs(self) -> None:
        bench = Bench(max_images=1)
        bench.put(0)
        bench.put(1)
        bench.take()
        bench.queue.abandon(WorkerDead)
        assert {item: type(answer) for item, answer in bench.answers.items()} == {0: WorkerDead, 1: WorkerDead}
        assert bench.answers[0] is not bench.answers[1]  # each is raised on its own, with its own traceback
        assert bench.depth == 0
        assert bench.take() is None
        with pytest.raises(WorkerDead):
            bench.put(2)

    def test_answered_jobs_are_not_abandoned(self) -> None:
        bench = Bench()
        bench.put(0)
        bench.take()
        bench.queue.close(Draining)
        assert bench.take() is None
        bench.queue.abandon(WorkerDead)
        assert bench.answers == {}

    def test_the_first_refusal_stays(self) -> None:
        bench = Bench()
        bench.queue.close(Draining)
        bench.queue.abandon(WorkerDead)
        with pytest.raises(Draining):
            bench.put(0)


class TestABlockedTake:
    """`take` blocks on a thread of its own; each of these changes wakes it."""

    @staticmethod
    def taken_after(bench: Bench, change: Callable[[], object]) -> list[int] | None:
        taken: list[list[int] | None] = []
        taker = threading.Thread(target=lambda: taken.append(bench.take()), daemon=True)
        taker.start()
        change()
        taker.join(timeout=30)
        assert not taker.is_alive()
        return taken[0]

    @pytest.mark.parametrize(
        ("waiting", "change", "taken"),
        [
            (0, lambda bench: bench.put(0), [0]),  # no window to wait out once max_images have arrived
            (0, lambda bench: bench.queue.close(Draining), None),
            (1, lambda bench: bench.put(1), [0, 1]),
            (1, lambda bench: bench.queue.close(Draining), [0]),
        ],
    )
    def test_wakes(self, waiting: int, change: Callable[[Bench], object], taken: list[int] | None) -> None:
        bench = Bench(max_images=2 if waiting else 1, max_delay=3600.0)
        for item in range(waiting):
            bench.put(item)
        assert self.taken_after(bench, lambda: change(bench)) == taken

    def test_a_window_ends(self) -> None:
        bench = Bench(max_images=2, max_delay=0.01)
        bench.put(0)
        assert self.taken_after(bench, lambda: setattr(bench.clock, "now", 0.02)) == [0]

    def test_the_last_job_of_a_window_is_cancelled_and_the_queue_closes(self) -> None:
        bench = Bench(max_images=2, max_delay=3600.0)
        job = bench.put(0)

        def change() -> None:
            bench.queue.cancel(job)
            bench.queue.close(Draining)

        assert self.taken_after(bench, change) is None


class Lives(RuleBasedStateMachine):
    """In any order of calls, every job leaves the queue exactly once."""

    MAX_QUEUE = 5

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(max_queue=self.MAX_QUEUE, max_images=3)
        self.waiting: dict[int, Job[int, object]] = {}
        self.ran: list[int] = []
        self.next_item = 0

    @rule(key=st.sampled_from(["exact", "act"]), patience=st.none() | st.integers(1, 5))
    def put(self, key: str, patience: int | None) -> None:
        item, self.next_item = self.next_item, self.next_item + 1
        deadline = None if patience is None else self.bench.clock.now + patience
        job = self.bench.job(item, key, deadline)
        if len(self.waiting) == self.MAX_QUEUE:
            with pytest.raises(QueueFull):
                self.bench.queue.put(job)
            return
        self.bench.queue.put(job)
        self.waiting[item] = job

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.bench.clock.now += seconds

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.waiting)))
        self.bench.queue.cancel(self.waiting.pop(item))

    @precondition(lambda self: any(not job.expired(self.bench.clock.now) for job in self.waiting.values()))
    @rule()
    def take(self) -> None:
        now = self.bench.clock.now
        late = {item for item, job in self.waiting.items() if job.expired(now)}
        batch = self.bench.take()
        assert batch is not None
        for item in late:
            assert isinstance(self.bench.answers.pop(item), DeadlinePassed)
            del self.waiting[item]
        assert batch[0] == min(self.waiting)
        assert len({self.waiting.pop(item).key for item in batch}) == 1
        self.ran += batch

    @invariant()
    def nothing_is_lost_or_run_twice(self) -> None:
        assert self.bench.depth == len(self.waiting) <= self.MAX_QUEUE
        assert len(self.ran) == len(set(self.ran))
        assert not self.bench.answers

    def teardown(self) -> None:
        self.bench.queue.abandon(Draining)
        assert set(self.waiting) <= set(self.bench.answers)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
