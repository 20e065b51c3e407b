from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import CancelledError

import pytest

from service.client.pace import AsyncGate, Gate, Pace


def started(pace: Pace, now: float) -> int:
    """Start as many as may, and return their number."""
    number = 0
    while pace.wait(now) == 0:
        pace.start()
        number += 1
    return number


def test_no_more_than_the_concurrency_start() -> None:
    pace = Pace(3)
    assert started(pace, 0) == 3
    assert pace.wait(0) == math.inf
    pace.end(0, None)
    assert started(pace, 0) == 1


def test_a_refusal_halves_the_limit_and_holds_all_up() -> None:
    pace = Pace(8)
    started(pace, 0)
    for refused in range(8):
        pace.end(10, 2 + refused / 4)
    assert pace.limit == 4  # one burst of refusals counts once
    assert pace.wait(10) == 3.75
    assert pace.wait(13) == 0.75
    assert started(pace, 13.75) == 4


def test_refusals_after_the_pause_halve_it_again_down_to_one() -> None:
    pace = Pace(8)
    for now, limit in ((0, 4), (10, 2), (20, 1), (30, 1)):
        pace.start()
        pace.end(now, 1)
        assert pace.limit == limit


def test_answers_raise_the_limit_to_the_concurrency_again() -> None:
    pace = Pace(4)
    pace.start()
    pace.end(0, 1)
    limits = []
    for _ in range(12):
        pace.start()
        pace.end(2, None)
        limits.append(pace.limit)
    assert limits == sorted(limits)
    assert (limits[0], limits[-1]) == (2, 4)


def test_a_closed_gate_lets_no_thread_through() -> None:
    gate, ended = Gate(1), []
    gate.enter()

    def second() -> None:
        with pytest.raises(CancelledError):
            gate.enter()
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
            await gate.enter()
            order.append(name)
            await asyncio.sleep(0)
            gate.leave(None)

        tasks = [asyncio.ensure_future(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(run()) == ["a", "c"]
