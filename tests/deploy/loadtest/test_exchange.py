"""One exchange: whole answers told from broken ones, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest.exchange import CUT, EXTRA, REFUSED, TIMEOUT, Target, exchange

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
FULL = b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"


@pytest.mark.parametrize(
    ("sent", "status", "failure"),
    [
        (OK, 200, ""),
        (FULL, 429, ""),
        (b"", 0, CUT),
        (OK[:-1], 0, CUT),
        (OK + OK, 200, EXTRA),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, ""),
        (b"no HTTP\r\n\r\n", 0, CUT),
    ],
)
def test_an_exchange_tells_whole_answers_from_broken_ones(
    sent: bytes, status: int, failure: str, serving: Callable[..., Any]
) -> None:
    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(sent)

    async def run() -> Any:
        async with serving(script) as target:
            return await exchange(target, "POST", "/detect", b"x" * 300_000, patience=10)

    answer = asyncio.run(run())
    assert (answer.status, answer.failure) == (status, failure)
    assert answer.ended >= answer.sent


def test_an_exchange_gives_up_and_notices_closed_ports(serving: Callable[..., Any]) -> None:
    async def silent(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.5)

    async def run() -> tuple[str, str]:
        async with serving(silent) as target:
            hung = await exchange(target, "POST", "/detect", b"x", patience=0.1)
        return hung.failure, (await exchange(target, "GET", "/", patience=10)).failure

    assert asyncio.run(run()) == (TIMEOUT, REFUSED)


@pytest.mark.parametrize("url", ["https://host:1", "host:1", "http://host/path", "http://"])
def test_a_target_is_a_plain_address(
    url: str,
) -> None:
    with pytest.raises(ValueError, match="is not http://host:port"):
        Target.of(url)


def test_a_key_is_sent_as_bearer() -> None:
    target = Target.of("http://host:81", "secret")
    assert (target.host, target.port, target.headers) == ("host", 81, (("authorization", "Bearer secret"),))
