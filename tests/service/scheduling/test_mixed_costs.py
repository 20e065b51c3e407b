"""Overload by images of which a fifth costs eight times as much, played on two streams and a clock of its own."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from typing import Final

import pytest

from service.errors import QueueFull, ServiceError
from service.scheduling.admission import Admission
from service.scheduling.batcher import BatchLimits, Job
from service.scheduling.costs import CostModel
from service.scheduling.request_queue import RequestQueue

STREAMS: Final = 2
SMALL, LARGE = (320, 400), (900, 1138)  # pixels, eight times as many
SECONDS: Final = {SMALL: 0.1, LARGE: 0.8}
LARGE_SHARE: Final = 0.2


class CostByNumber(CostModel):
    """The estimate that knows no sizes: an image takes what recent ones took on average."""

    def predict(self, key: Hashable, pixels: int) -> float:
        return self.mean

    def record(self, key: Hashable, pixels: Sequence[int], seconds: float) -> None:
        self._mean = seconds if self._mean is None else self._mean + self.WEIGHT * (seconds - self._mean)


class Simulation:
    """A queue and its admission under Poisson arrivals; `counts` says what became of them.

    `refused`; `expired` while they waited; `answered`, and of these `in time` by the end of their inference.
    """

    def __init__(self, costs: CostModel, patience: float) -> None:
        self.now = 0.0
        self.costs = costs
        self.patience = patience
        self.counts: Counter[str] = Counter()
        self.queue: RequestQueue[int, object] = RequestQueue(
            BatchLimits(1, 10**9, 0), 10**6, self, lambda: self.now, costs, STREAMS
        )
        self.admission = Admission(lambda: None, self.queue, 10**6, lambda count: None, lambda: self.now)
        self.waiting = 0
        self.accepted: deque[Job[int, object]] = deque()
        self.running: list[tuple[float, int, Job[int, object]]] = []
        self.free = list(range(STREAMS))

    def on_queue_depth(self, n: int) -> None:
        self.waiting = n

    def play(self, seconds: float, load: float, seed: int = 0) -> Counter[str]:
        """Let images arrive for so long at `load` times what the streams can do."""
        rng = random.Random(seed)
        mean = (1 - LARGE_SHARE) * SECONDS[SMALL] + LARGE_SHARE * SECONDS[LARGE]
        at = 0.0
        while (at := at + rng.expovariate(load * STREAMS / mean)) < seconds:
            self.finish_until(at)
            self.now = at
            self.arrive(LARGE if rng.random() < LARGE_SHARE else SMALL)
            self.start()
        self.finish_until(float("inf"))
        return self.counts

    def arrive(self, size: tuple[int, int]) -> None:
        deadline, under_way = self.now + self.patience, ExitStack()

        def done(answer: object) -> None:
            under_way.close()
            self.counts["expired" if isinstance(answer, ServiceError) else "answered"] += 1

        job = Job(0, "exact", *size, self.now, deadline, done)
        try:
            under_way.enter_context(self.admission.admit(deadline))
            self.queue.put(job)
        except QueueFull:
            under_way.close()
            self.counts["refused"] += 1
        else:
            self.accepted.append(job)

    def start(self) -> None:
        while self.accepted and self.accepted[0].expired(self.now):
            self.queue.expire(self.accepted.popleft())
        while self.free and self.waiting:
            taker = self.free.pop()
            (job,) = self.queue.take(taker) or []
            heapq.heappush(self.running, (self.now + SECONDS[job.height, job.width], taker, job))

    def finish_until(self, time: float) -> None:
        while self.running and self.running[0][0] <= time:
            self.now, taker, job = heapq.heappop(self.running)
            self.costs.record(job.key, [job.pixels], SECONDS[job.height, job.width])
            assert job.deadline is not None
            self.counts["in time"] += self.now <= job.deadline
            job.done(None)
            self.queue._occupy(taker, [], self.now)  # what the next `take` does, which would block
            self.free.append(taker)
            self.start()


@pytest.mark.parametrize("patience", [2.0, 5.0])
def test_an_estimate_by_cost_keeps_its_promises_and_answers_more_in_time(patience: float) -> None:
    by_number, by_cost = (
        Simulation(costs, patience).play(seconds=200, load=1.5) for costs in (CostByNumber(), CostModel())
    )
    assert by_cost["in time"] > 1.02 * by_number["in time"]
    assert by_cost["expired"] <= 0.01 * by_cost["answered"] < by_number["expired"]  # the 99th percentile
    assert by_cost["refused"] > by_number["refused"]  # what would expire is told at once
    assert by_cost["answered"] > 0.97 * by_number["answered"]


def test_what_the_streams_can_do_is_not_refused() -> None:
    counts = Simulation(CostModel(), 5.0).play(seconds=200, load=0.6)
    assert counts["refused"] + counts["expired"] < 0.01 * counts["answered"]
