"""The generator against real sockets: servers that answer, break off, stall, refuse and count."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from deploy.loadtest.exchange import CUT, EXTRA, REFUSED, TIMEOUT, Target, exchange, now
from deploy.loadtest.load import (
    Call,
    Mix,
    Outcome,
    Phase,
    after_retry_after,
    capacity,
    closed_loop,
    open_loop,
    schedule,
)
from deploy.loadtest.watch import server_counts, watch

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
FULL = b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"
Serving = Callable[..., Any]


def calls(*due: float, comes_back: bool = False) -> list[Call]:
    return [Call("load", at, "/detect?attention=exact", b"image", 5000.0, comes_back) for at in due]


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
def test_exchange_tells_whole_answers_from_broken_ones(
    sent: bytes, status: int, failure: str, serving: Serving
) -> None:
    async def script(writer: asyncio.StreamWriter, index: int) -> None:
        writer.write(sent)

    async def run() -> Any:
        async with serving(script) as target:
            return await exchange(target, "POST", "/detect", b"x" * 300_000, patience=10)

    answer = asyncio.run(run())
    assert (answer.status, answer.failure) == (status, failure)
    assert answer.ended >= answer.sent


def test_exchange_sees_an_answer_that_is_sent_again_later(serving: Serving) -> None:
    async def twice(writer: asyncio.StreamWriter, index: int) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(OK)

    async def run() -> str:
        async with serving(twice) as target:
            return (await exchange(target, "GET", "/", patience=10)).failure

    assert asyncio.run(run()) == EXTRA


def test_exchange_gives_up_in_time_and_notices_a_closed_port(serving: Serving) -> None:
    async def silent(writer: asyncio.StreamWriter, index: int) -> None:
        await asyncio.sleep(0.5)

    async def run() -> tuple[str, str]:
        async with serving(silent) as target:
            hung = await exchange(target, "POST", "/detect", b"x", patience=0.1)
        return hung.failure, (await exchange(target, "GET", "/", patience=10)).failure

    assert asyncio.run(run()) == (TIMEOUT, REFUSED)


@pytest.mark.parametrize("url", ["https://host:1", "host:1", "http://host/path", "http://"])
def test_target_is_a_plain_address(url: str) -> None:
    with pytest.raises(ValueError, match="is not http://host:port"):
        Target.of(url)
    assert Target.of("http://host:81", "key") == Target("host", 81, (("authorization", "Bearer key"),))


def test_open_loop_counts_latency_from_when_a_call_was_due(serving: Serving) -> None:
    """The server stalls once. Callers that wait for their turn would see one slow answer; all that were due do."""
    freed = asyncio.Event()

    async def stall(writer: asyncio.StreamWriter, index: int) -> None:
        await freed.wait()
        writer.write(OK)

    async def run() -> tuple[list[Outcome], float]:
        async with serving(stall) as target:
            start = now()
            calling = asyncio.create_task(open_loop(target, calls(0, 0.1, 0.2, 0.3), start=start))
            await asyncio.sleep(0.5)
            freed.set()
            return await calling, now() - start

    outcomes, _ = asyncio.run(run())
    assert [one.due for one in outcomes] == [0, 0.1, 0.2, 0.3]
    assert all(one.latency >= 0.5 - one.due for one in outcomes)


def test_open_loop_counts_its_own_delay(serving: Serving) -> None:
    async def accept(writer: asyncio.StreamWriter, index: int) -> None:
        writer.write(OK)

    async def run() -> list[Outcome]:
        async with serving(accept) as target:
            calling = asyncio.create_task(open_loop(target, calls(0.1, 0.15), start=now()))
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # the event loop hangs while calls are due
            return await calling

    outcomes = asyncio.run(run())
    assert all(one.latency >= one.lag >= 0.19 for one in outcomes)


def test_calls_that_come_back_do_so_once_after_retry_after(serving: Serving) -> None:
    async def full_at_first(writer: asyncio.StreamWriter, index: int) -> None:
        writer.write(OK if index else FULL)

    async def run(comes_back: bool) -> list[Outcome]:
        async with serving(full_at_first) as target:
            return await open_loop(target, calls(0, comes_back=comes_back), start=now(), again=after_retry_after)

    first, second = asyncio.run(run(True))
    assert (first.status, first.retry_after, second.status, second.attempt) == (429, 1.0, 200, 1)
    assert second.sent >= second.due == first.ended + 1
    assert len(asyncio.run(run(False))) == 1


def test_closed_loop_has_as_many_calls_under_way_as_callers(serving: Serving) -> None:
    under_way, peak = 0, 0

    async def count(writer: asyncio.StreamWriter, index: int) -> None:
        nonlocal under_way, peak
        under_way += 1
        peak = max(peak, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        writer.write(OK)

    async def run() -> list[Outcome]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.4, stop.set)
        async with serving(count) as target:
            return await closed_loop(target, Mix((b"x",)), callers=3, stop=stop)

    outcomes = asyncio.run(run())
    assert peak == 3
    assert all(one.accepted for one in outcomes)


def test_capacity_is_what_a_closed_loop_gets_accepted(serving: Serving) -> None:
    async def measure(answer: bytes) -> float:
        async def reply(writer: asyncio.StreamWriter, index: int) -> None:
            await asyncio.sleep(0.05)
            writer.write(answer)

        async with serving(reply) as target:
            return await capacity(target, Mix((b"image",)), 2, 0.6, 0)

    assert 0 < asyncio.run(measure(OK)) <= 40  # each of two callers waits 50 ms a call
    with pytest.raises(SystemExit, match="accepted nothing"):
        asyncio.run(measure(FULL))


def test_schedule_has_poisson_times() -> None:
    times = [call.due for call in schedule([Phase("load", 10, 1000)], Mix((b"x",)), seed=0)]
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(0.01, rel=0.1)  # the mean's square
    with pytest.raises(ValueError, match="above 0"):
        schedule([Phase("load", 0, 1)], Mix((b"x",)), seed=0)


def test_schedule_is_in_order_mixed_and_reproducible() -> None:
    mix = Mix((b"one", b"two"), ("attention=exact", "attention=act"), (100.0, 200.0))
    phases = [Phase("calm", 20, 2), Phase("overload", 100, 3)]
    made = schedule(phases, mix, seed=1, come_back=0.5)
    assert made == schedule(phases, mix, seed=1, come_back=0.5)
    assert made != schedule(phases, mix, seed=2, come_back=0.5)
    assert [call.due for call in made] == sorted(call.due for call in made)
    assert all((call.due < 2) == (call.phase == "calm") for call in made)
    assert {(call.path, call.body) for call in made} == {
        (f"/detect?attention={attention}&deadline_ms={deadline}", body)
        for attention in ("exact", "act")
        for deadline in (100, 200)
        for body in mix.images
    }
    assert 0 < sum(call.comes_back for call in made) < len(made)


def test_watch_reads_the_real_exposition(serving: Serving) -> None:
    from service.telemetry.metrics import Metrics

    metrics = Metrics()
    metrics.queue_depth.set(3)
    metrics.request_duration.labels("/detect", "act", "200").observe(0.1)
    metrics.request_duration.labels("/detect", "none", "429").observe(0.1)
    metrics.request_duration.labels("/readyz", "none", "200").observe(0.1)
    body, _ = metrics.render("")
    answering = True

    async def script(writer: asyncio.StreamWriter, index: int) -> None:
        if answering:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def run() -> Any:
        nonlocal answering
        async with serving(script) as target:
            counts = await server_counts(target)
            async with watch(target, now(), every=0.01) as samples:
                while len(samples) < 1:
                    await asyncio.sleep(0.01)
                answering = False
                while samples[-1].live:
                    await asyncio.sleep(0.01)
            return counts, samples[0], samples[-1]

    counts, first, last = asyncio.run(run())
    assert counts == {"200": 1, "429": 1}
    assert (first.queue_depth, first.inflight, first.live) == (3, 0, 200)
    assert first.rss_bytes > 1e6
    assert last.queue_depth != last.queue_depth, "not a number: there was no answer"


def test_mix_draws_evenly() -> None:
    mix, rng = Mix((b"one", b"two"), ("a", "b"), (1.0,)), random.Random(0)
    drawn = [mix.draw(rng, "", 0.0) for _ in range(1000)]
    assert 400 < sum(call.body == b"one" for call in drawn) < 600
    assert not any(call.comes_back for call in drawn)
