"""The service's own metrics and liveness, sampled while it is under load."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from deploy.loadtest.exchange import Target, exchange, now

PATIENCE_SECONDS: Final = 12.0
"""How long the manifests' probes wait."""
PROGRESS_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The metrics `at` so many seconds from the start, NaN where /metrics did not answer in time.

    `live` is the status of /livez, 0 without an answer in time; `live_seconds` is how long it took.
    """

    at: float
    live: int
    live_seconds: float
    rss_bytes: float = math.nan
    queue_depth: float = math.nan
    inflight: float = math.nan


@asynccontextmanager
async def watch(target: Target, start: float, every: float, progress: bool = False) -> AsyncIterator[list[Sample]]:
    """Sample the service while the block lasts, into the list. With `progress`, print a line a minute."""
    samples: list[Sample] = []

    async def run() -> None:
        printed = 0.0
        while True:
            began = now()
            samples.append(sample := await _sample(target, start))
            if progress and sample.at - printed >= PROGRESS_SECONDS:
                printed = sample.at
                memory = f"{sample.rss_bytes / 1e6:.0f} MB"
                print(f"{sample.at:.0f} s: {sample.inflight:.0f} under way, {memory}, /livez {sample.live}", flush=True)
            await asyncio.sleep(max(0.01, every - (now() - began)))

    task = asyncio.create_task(run())
    try:
        yield samples
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def server_counts(target: Target) -> Counter[str]:
    """Return the number of requests to /detect that the service has answered, by status."""
    counts: Counter[str] = Counter()
    for family in await _metrics(target):
        for row in family.samples:
            if row.name == "act_detr_request_duration_seconds_count" and row.labels["route"] == "/detect":
                counts[row.labels["status"]] += int(row.value)
    return +counts


async def counts_by_label(target: Target, series: str, label: str) -> Counter[str]:
    """Return the values of a counter's series, by one of its labels."""
    rows = (row for family in await _metrics(target) for row in family.samples if row.name == series)
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.labels[label]] += int(row.value)
    return counts


async def model_card(target: Target) -> dict[str, Any]:
    """Return what /model answers."""
    card: dict[str, Any] = json.loads((await exchange(target, "GET", "/model", patience=PATIENCE_SECONDS)).body)
    return card


async def _sample(target: Target, start: float) -> Sample:
    metrics, live = await asyncio.gather(_metrics(target), exchange(target, "GET", "/livez", patience=PATIENCE_SECONDS))
    values = {row.name: row.value for family in metrics for row in family.samples if not row.labels}
    names = ("process_resident_memory_bytes", "act_detr_queue_depth", "act_detr_inflight_requests")
    gauges = (values.get(name, math.nan) for name in names)
    return Sample(live.ended - start, live.status, live.ended - live.sent, *gauges)


async def _metrics(target: Target) -> Iterable[Metric]:
    answer = await exchange(target, "GET", "/metrics", patience=PATIENCE_SECONDS)
    return text_string_to_metric_families(answer.body.decode() if answer.status == 200 else "")
