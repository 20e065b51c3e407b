from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import CancelledError

import pytest

from service.client.pace import CAUTION, AsyncGate, Gate, Pace


def started(pace: Pace) -> int:
    """Start as many as may, and return their number."""
    number = 0
    while pace.wait(0) == 0:
        pace.start()
        number += 1
    return number


def full(concurrency: int, taken: int) -> Pace:
    """A pace after a service refused all but `taken` of the first requests."""
    pace = Pace(concurrency)
    for refused in range(started(pace) - taken):
        assert pace.limit == concurrency - refused
        pace.end(refused=True)
    return pace


def test_no_more_than_the_concurrency_start() -> None:
    pace = Pace(3)
    assert started(pace) == 3
    assert pace.wait(0) == math.inf
    pace.end(refused=False)
    assert started(pace) == 1


def test_refusals_leave_as_many_as_the_service_took() -> None:
    pace = full(16, 2)
    assert pace.limit == 2
    assert pace.wait(1) == math.inf
    pace.end(refused=False)
    assert started(pace) == 1


def test_one_is_left_where_all_are_refused() -> None:
    pace = full(8, 0)
    assert pace.limit == 1
    assert pace.wait(1.5) == 1.5  # what was refused waits for its own pause
    assert started(pace) == 1


def test_a_number_that_was_refused_is_tried_rarely() -> None:
    pace = full(16, 2)
    answers = 0
    while pace.limit == 2:
        pace.end(refused=False)
        answers += 1
        started(pace)
    assert answers in (2 * CAUTION, 2 * CAUTION + 1)  # as the sum rounds
    pace.end(refused=True)
    assert pace.limit == 2


def test_a_service_that_recovers_soon_gets_as_many_as_before() -> None:
    pace = full(8, 0)
    started(pace)
    limits = []
    while pace.limit < 8:
        pace.end(refused=False)
        limits.append(pace.limit)
        started(pace)
    assert limits == sorted(limits)
    assert len(limits) < 40
    for _ in range(30):
        pace.end(refused=False)
        started(pace)
    assert pace.limit == 8


def test_a_closed_gate_lets_no_thread_through() -> None:
    gate, ended = Gate(1), []
    gate.enter(0)

    def second() -> None:
        with pytest.raises(CancelledError):
            gate.enter(0)
        ended.append(True)

    thread = threading.Thread(target=second)
    thread.start()
    gate.close()
    thread.join(10)
    assert ended == [True]


def test_a_task_waits_for_another_to_leave_and_can_be_cancelled() -> None:
    async def run() -> list[str]:
        gate, order = AsyncGate(1), []

        async def one(name: str) -> None:
            await gate.enter(0)
            order.append(name)
            await asyncio.sleep(0)
            gate.leave(refused=False)

        tasks = [asyncio.ensure_future(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(run()) == ["a", "c"]
