"""Open and closed loop, against servers that stall, refuse and count."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from deploy.loadtest.callers import Outcome, as_told, closed_loop, never, open_loop
from deploy.loadtest.exchange import now
from deploy.loadtest.traffic import Call, Mix

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
FULL = json.dumps({"type": "queue-full", "detail": "Too many."}).encode()
FULL = (
    b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
) % (len(FULL), FULL)


async def accept(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(OK)


def calls(*due: float, chosen: bool = False) -> list[Call]:
    return [Call("load", at, "/detect?attention=exact", b"image", 5000.0, chosen) for at in due]


def test_latency_counts_from_when_a_call_was_due_not_from_when_the_server_was_free(serving: Callable[..., Any]) -> None:
    """The server stalls once. Callers who wait for their turn would see one slow answer; all that were due do."""
    freed = asyncio.Event()

    async def stall(writer: asyncio.StreamWriter, number: int) -> None:
        await freed.wait()
        writer.write(OK)

    async def run() -> tuple[list[Outcome], float]:
        async with serving(stall) as target:
            start = now()
            calling = asyncio.create_task(open_loop(target, calls(0, 0.1, 0.2, 0.3), start=start))
            await asyncio.sleep(0.5)
            freed.set()
            until = now() - start
            return await calling, until

    outcomes, until = asyncio.run(run())
    assert [one.due for one in outcomes] == [0, 0.1, 0.2, 0.3]
    assert all(one.latency >= until - one.due for one in outcomes)


def test_the_generators_own_delay_is_in_the_latency(serving: Callable[..., Any]) -> None:
    async def run() -> list[Outcome]:
        async with serving(accept) as target:
            start = now()
            calling = asyncio.create_task(open_loop(target, calls(0.1, 0.15), start=start))
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # the event loop hangs while calls are due
            return await calling

    outcomes = asyncio.run(run())
    assert all(one.lag >= 0.19 for one in outcomes)
    assert all(one.latency >= one.lag for one in outcomes)


def test_callers_who_were_chosen_come_back_once_when_told(serving: Callable[..., Any]) -> None:
    async def full_at_first(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(FULL if number == 0 else OK)

    async def run(chosen: bool, again: Any) -> list[Outcome]:
        async with serving(full_at_first) as target:
            return await open_loop(target, calls(0, chosen=chosen), start=now(), again=again)

    first, second = asyncio.run(run(True, as_told))
    assert (first.status, first.retry_after, first.problem, first.detail) == (429, 1.0, "queue-full", "Too many.")
    assert (second.status, second.attempt) == (200, 1)
    assert second.due == first.ended + 1
    assert second.sent >= second.due
    assert len(asyncio.run(run(False, as_told))) == 1
    assert len(asyncio.run(run(True, never))) == 1


def test_a_closed_loop_has_as_many_under_way_as_callers(serving: Callable[..., Any]) -> None:
    under_way, most = 0, 0

    async def count(writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        writer.write(OK)

    async def run() -> list[Outcome]:
        async with serving(count) as target:
            return await closed_loop(target, Mix((b"x",)), callers=3, seconds=0.4, seed=0)

    outcomes = asyncio.run(run())
    assert most == 3
    assert all(one.accepted and one.ended <= 0.4 for one in outcomes)
