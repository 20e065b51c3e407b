"""Half an hour of ordinary traffic: nothing is lost, nothing fails, and neither memory nor latency grows.

    python -m deploy.loadtest.soak [--seconds 1800] [--share 0.3] [--url http://127.0.0.1:8000] [--output FILE]

Without --url it starts a service, with the settings of the environment. It measures the capacity and sends a share of
that. The first sixth of the time warms up: caches fill, threads and allocators take what they need. Over the rest,
memory is flat when the 95 % interval of its growth reaches down to 0, or when it grows by at most 5 %; the latency of
accepted calls likewise with 10 %. Where the printed interval is wide, the run was too short or the machine too busy to
show much. The exit status is 1 when a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from deploy.loadtest.checks import Check, Run, common_checks, finish, memory
from deploy.loadtest.load import Phase, capacity, schedule
from deploy.loadtest.program import CALM, environment, mix_of, observe, options, service
from deploy.loadtest.summary import BLOCKS, Trend, summarize, trend

WARM_UP: Final = "warm-up"
SOAK: Final = "soak"
WARM_UP_SHARE: Final = 1 / 6
MEMORY_GROWTH: Final = 0.05
LATENCY_GROWTH: Final = 0.1
"""Shares of the mean by which memory and latency may grow after the warm-up."""
SAMPLES_A_BLOCK: Final = 15


@dataclass(frozen=True, slots=True)
class Soak(Run):
    """A run of so many `seconds`, the warm-up included."""

    seconds: float

    @property
    def warm(self) -> float:
        """When the warm-up ends."""
        return self.seconds * WARM_UP_SHARE

    def memory(self) -> Trend:
        """Return the trend of resident memory, in bytes. Raises ValueError for too few samples."""
        times, sizes = [one.at for one in self.samples], [one.rss_bytes for one in self.samples]
        return trend(times, sizes, self.warm, self.seconds)

    def latency(self) -> Trend:
        """Return the trend of accepted calls' latency, in seconds. Raises ValueError for too few calls."""
        accepted = [one for one in self.outcomes if one.accepted]
        times, latencies = [one.due for one in accepted], [one.latency for one in accepted]
        return trend(times, latencies, self.warm, self.seconds)


def run_checks(run: Soak) -> list[Check]:
    """Check every guarantee."""
    others = Counter(one.status for one in run.outcomes if one.status not in (0, 200))
    failed = sum(count for status, count in others.items() if status >= 500)
    observed = f"{failed} answers with 5xx; other than 200: {dict(others) or 0}"
    return [
        *common_checks(run),
        Check("no request fails", failed == 0, observed),
        _is_flat("memory is flat", run.memory, MEMORY_GROWTH, lambda _: memory(run.samples)),
        _is_flat("latency is flat", run.latency, LATENCY_GROWTH, lambda mean: f"mean {1e3 * mean:.0f} ms"),
    ]


def _is_flat(name: str, measure: Callable[[], Trend], bound: float, describe: Callable[[float], str]) -> Check:
    try:
        measured = measure()
    except ValueError as error:
        return Check(name, False, str(error))
    return Check(name, measured.is_flat(bound), f"{describe(measured.mean)}; {measured}")


def _as_json(measure: Callable[[], Trend]) -> dict[str, Any] | None:
    try:
        return asdict(measure())
    except ValueError:
        return None


async def run(arguments: argparse.Namespace) -> None:
    """Measure the capacity, send a share of it for so long, and finish with the checks."""
    mix, seconds = mix_of(arguments), arguments.seconds
    with service(arguments.url, arguments.api_key) as (target, server):
        results: dict[str, Any] = {"environment": await environment(target), "share": arguments.share}
        can = await capacity(target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed)
        rate, warm_up = arguments.share * can, seconds * WARM_UP_SHARE
        print(f"{arguments.callers} callers get {can:.2f} answers a second; now {rate:.2f} for {seconds:g} s")
        phases = [Phase(WARM_UP, rate, warm_up), Phase(SOAK, rate, seconds - warm_up)]
        calls = schedule(phases, mix, arguments.seed, arguments.come_back)
        every = min(5.0, (seconds - warm_up) / BLOCKS / SAMPLES_A_BLOCK)
        soak = Soak(*await observe(target, server, calls, every=every, progress=True), seconds)
    results |= {
        "capacity_per_s": round(can, 3),
        "trends": {"rss_bytes": _as_json(soak.memory), "latency_s": _as_json(soak.latency)},
    }
    summaries = {
        phase.name: summarize([one for one in soak.outcomes if one.phase == phase.name], phase.seconds)
        for phase in phases
    }
    finish(arguments.output, results, summaries, run_checks(soak))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a check fails."""
    parser = options(__doc__, capacity_seconds=30.0)
    parser.add_argument("--seconds", type=float, default=1800.0, help="length of the traffic, the warm-up included")
    parser.add_argument("--share", type=float, default=CALM, help="share of the capacity to send")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
