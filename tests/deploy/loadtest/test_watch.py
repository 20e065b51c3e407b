"""The service's own account: a line through it by hand, and the real exposition."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest.exchange import now
from deploy.loadtest.watch import Watch, answered, series, slope


def test_a_slope_by_hand() -> None:
    found = slope([0, 1, 2, 3], [1, 3, 2, 4])
    assert found.per_s == pytest.approx(0.8)
    assert found.high - found.per_s == pytest.approx(1.96 * 0.18**0.5)
    assert found.per_s - found.low == pytest.approx(1.96 * 0.18**0.5)
    with pytest.raises(ValueError, match="three samples"):
        slope([0, 1], [0, 1])
    with pytest.raises(ValueError, match="one time"):
        slope([1, 1, 1], [0, 1, 2])


def test_metrics_are_read_from_the_real_exposition(serving: Callable[..., Any]) -> None:
    from service.telemetry.metrics import Metrics

    metrics = Metrics()
    metrics.queue_depth.set(3)
    metrics.request_duration.labels("/detect", "act", "200").observe(0.1)
    metrics.request_duration.labels("/detect", "none", "429").observe(0.1)
    metrics.request_duration.labels("/readyz", "none", "200").observe(0.1)
    body, _ = metrics.render("")

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def run() -> tuple[Counter[str], Watch]:
        async with serving(script) as target:
            watch = Watch(target, now(), every=0.01)
            watching = asyncio.create_task(watch.run())
            counted = await answered(target)
            watch.stop()
            await watching
            return counted, watch

    counted, watch = asyncio.run(run())
    assert counted == {"200": 1, "429": 1}
    assert series(body.decode())["act_detr_queue_depth"] == 3
    sample = watch.samples[0]
    assert (sample.queue_depth, sample.inflight, sample.live, watch.missed) == (3, 0, 200, 0)
    assert sample.rss_bytes > 1e6
