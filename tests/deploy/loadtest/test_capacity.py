"""Capacity, of a server that takes a known time and of one that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest.capacity import capacity
from deploy.loadtest.traffic import Mix

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
NO = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def found(serving: Callable[..., Any], answer: bytes, pause: float, callers: int) -> float:
    async def reply(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(pause)
        writer.write(answer)

    async def measure() -> float:
        async with serving(reply) as target:
            return await capacity(target, Mix((b"image",)), callers, 0.6, 0)

    return asyncio.run(measure())


def test_it_is_at_most_what_the_pauses_allow(serving: Callable[..., Any]) -> None:
    """Each of two callers waits 50 ms a call: no more than 40 a second, on a machine of any speed."""
    assert 0 < found(serving, OK, 0.05, callers=2) <= 40


def test_a_service_that_accepts_nothing_has_none(serving: Callable[..., Any]) -> None:
    with pytest.raises(SystemExit, match="accepted nothing"):
        found(serving, NO, 0.01, callers=2)
