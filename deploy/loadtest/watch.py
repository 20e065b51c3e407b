"""The service's own account while it is under load: memory, queue, answers by status; and whether it grows."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from deploy.loadtest.exchange import Target, exchange, now

PATIENCE_SECONDS: Final = 12.0
"""As long as the manifests' probes wait."""
SERIES: Final = (
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "act_detr_queue_depth",
    "act_detr_inflight_requests",
)
"""What a Sample has of the metrics, in its order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What /metrics said `at` so many seconds from the start, and how long it and /livez took to answer.

    `cpu_seconds` were used since the process began. `live` is the status of /livez, 0 without an answer in time.
    """

    at: float
    rss_bytes: float
    cpu_seconds: float
    queue_depth: float
    inflight: float
    metrics_seconds: float
    live: int
    live_seconds: float


@dataclass(frozen=True, slots=True)
class Slope:
    """Least-squares growth a second with its 95 % interval (normal), and the samples that it was fitted to.

    Samples that follow one another resemble one another, so that the interval is narrower than it should be.
    """

    per_s: float
    low: float
    high: float
    samples: int


class Watch:
    """Samples a service until it is stopped. `missed` counts the times when /metrics gave no answer.

    `seen` is told of each sample.
    """

    def __init__(
        self, target: Target, start: float, every: float = 1.0, seen: Callable[[Sample], None] | None = None
    ) -> None:
        self.samples: list[Sample] = []
        self.missed = 0
        self._target = target
        self._start = start
        self._every = every
        self._seen = seen
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sample every so many seconds, as long as no sample takes longer."""
        while not self._stop.is_set():
            began = now()
            await self._sample()
            try:
                async with asyncio.timeout(max(0.01, self._every - (now() - began))):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Let `run` return after the sample that it is taking."""
        self._stop.set()

    async def _sample(self) -> None:
        metrics, live = await asyncio.gather(
            exchange(self._target, "GET", "/metrics", patience=PATIENCE_SECONDS),
            exchange(self._target, "GET", "/livez", patience=PATIENCE_SECONDS),
        )
        if metrics.status != 200:
            self.missed += 1
            return
        values = series(metrics.body.decode())
        rss, cpu, depth, inflight = (values.get(name, math.nan) for name in SERIES)
        at, taken = metrics.ended - self._start, metrics.ended - metrics.sent
        sample = Sample(at, rss, cpu, depth, inflight, taken, live.status, live.ended - live.sent)
        self.samples.append(sample)
        if self._seen is not None:
            self._seen(sample)


def series(text: str) -> dict[str, float]:
    """Return the series without labels of an exposition."""
    families = text_string_to_metric_families(text)
    return {row.name: row.value for family in families for row in family.samples if not row.labels}


async def answered(target: Target) -> Counter[str]:
    """Return how many requests to /detect the service says that it has answered, by status."""
    answer = await exchange(target, "GET", "/metrics", patience=PATIENCE_SECONDS)
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.body.decode()):
        for row in family.samples:
            if row.name == "act_detr_request_duration_seconds_count" and row.labels["route"] == "/detect":
                counts[row.labels["status"]] += int(row.value)
    return +counts


def slope(times: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line. Raises ValueError for fewer than three samples, or all at one time."""
    n = len(times)
    if n < 3 or len(values) != n:
        raise ValueError(f"a slope needs three samples at least, not {n}")
    mid_t, mid_v = sum(times) / n, sum(values) / n
    spread = sum((t - mid_t) ** 2 for t in times)
    if spread == 0:
        raise ValueError("all samples are of one time")
    per_s = sum((t - mid_t) * (v - mid_v) for t, v in zip(times, values, strict=True)) / spread
    rest = sum((v - mid_v - per_s * (t - mid_t)) ** 2 for t, v in zip(times, values, strict=True))
    error = 1.96 * math.sqrt(rest / (n - 2) / spread)
    return Slope(per_s, per_s - error, per_s + error, n)
