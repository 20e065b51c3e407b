"""Half an hour of ordinary traffic: nothing is lost, nothing fails, and neither memory nor latency grows.

    python -m deploy.loadtest.soak [--seconds 1800] [--share 0.3] [--url http://127.0.0.1:8000] [--output figures.json]

Without --url it starts a service of its own, with the settings of the environment, measures what it can take, and asks
for a share of that. The first sixth of the time warms up: caches fill, threads and allocators take what they need. The
rest is judged. Memory is flat when the 95 % interval of its slope holds 0 or less, or when it grows by no more than 5 %
over that time; latency (the mean of accepted calls) likewise with 10 %. Successive samples are correlated, so the line
is fitted to the means of 20 blocks of the same length, and its interval has Student's t: trend.py says why. The
interval is printed with the growth: where it is wide, the run was too short or the machine too busy to say much. The
exit status is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from deploy.loadtest.callers import Outcome, as_told
from deploy.loadtest.capacity import CALM, add_capacity_options, capacity
from deploy.loadtest.exchange import Target
from deploy.loadtest.open_loop import add_service_options, service, watched
from deploy.loadtest.own_server import OwnServer
from deploy.loadtest.promises import GROWTH, accounts, alive, one_answer_each
from deploy.loadtest.report import Promise, add_traffic_options, circumstances, finish, mix_of, say, show, write_records
from deploy.loadtest.summary import Summary, percentile, summarize
from deploy.loadtest.traffic import Call, Phase, schedule
from deploy.loadtest.trend import BLOCKS, Trend, trend
from deploy.loadtest.watch import Sample, answered

WARM_UP: Final = "warm-up"
SOAK: Final = "soak"
WARM_UP_SHARE: Final = 1 / 6
"""Of the time, that is not judged."""
LATENCY_GROWTH: Final = 0.1
"""Of the mean latency, that it may grow by over the time that is judged."""
SAMPLES_A_BLOCK: Final = 15


@dataclass(frozen=True, slots=True)
class Soak:
    """A run and what was seen. Times in seconds from the first call, capacity in calls a second."""

    capacity: float
    seconds: float
    outcomes: Sequence[Outcome]
    samples: Sequence[Sample]

    @property
    def judged_from(self) -> float:
        """When the warm-up ends."""
        return self.seconds * WARM_UP_SHARE

    def summaries(self) -> dict[str, Summary]:
        """Sum up both phases."""
        lengths = {WARM_UP: self.judged_from, SOAK: self.seconds - self.judged_from}
        phases = {name: [one for one in self.outcomes if one.phase == name] for name in lengths}
        return {name: summarize(phases[name], seconds) for name, seconds in lengths.items() if phases[name]}

    def memory(self) -> Trend:
        """How resident memory, in bytes, goes on after the warm-up. Raises ValueError for too few samples."""
        times, sizes = [one.at for one in self.samples], [one.rss_bytes for one in self.samples]
        return trend(times, sizes, self.judged_from, self.seconds)

    def latency(self) -> Trend:
        """How the latency of accepted calls, in seconds, goes on after the warm-up. Raises ValueError."""
        accepted = [one for one in self.outcomes if one.accepted]
        times, waits = [one.due for one in accepted], [one.latency for one in accepted]
        return trend(times, waits, self.judged_from, self.seconds)


class Progress:
    """Says every so many seconds how the run goes. Told of each attempt that ended, and of each sample."""

    def __init__(self, seconds: float, every: float = 60.0) -> None:
        self._seconds, self._every, self._next = seconds, every, every
        self._ended: Counter[str] = Counter()
        self._latencies: list[float] = []

    def ended(self, call: Call, outcome: Outcome) -> float | None:
        """Count an attempt; those chosen try again `as_told`."""
        self._ended[outcome.failure or str(outcome.status)] += 1
        if outcome.accepted:
            self._latencies.append(outcome.latency)
        return as_told(call, outcome)

    def sampled(self, sample: Sample) -> None:
        """Say how it goes, when it is time."""
        if sample.at < self._next:
            return
        self._next += self._every
        late = f"p99 {1e3 * percentile(sorted(self._latencies), 0.99):.0f} ms" if self._latencies else "none accepted"
        ended = "  ".join(f"{status}: {count}" for status, count in sorted(self._ended.items()))
        say(f"{sample.at:.0f} of {self._seconds:g} s: {ended}; {late} of late; {sample.rss_bytes / 1e6:.0f} MB")
        self._latencies.clear()


def judge(run: Soak, told: dict[str, int] | None, errors_logged: int | None) -> list[Promise]:
    """Judge every promise. `told`: answers by status that the service counted itself; None: others called too."""
    return [
        one_answer_each(run),
        none_fails(run),
        memory_is_flat(run),
        latency_is_flat(run),
        alive(run),
        *accounts(run, told, errors_logged),
    ]


def none_fails(run: Soak) -> Promise:
    """No answer is a 5xx."""
    others = Counter(one.status for one in run.outcomes if one.status not in (0, 200))
    failed = sum(count for status, count in others.items() if status >= 500)
    return Promise("no request fails", failed == 0, f"{failed} answers with 5xx; other than 200: {dict(others) or 0}")


def memory_is_flat(run: Soak) -> Promise:
    """Memory, once warm, stays."""
    try:
        found = run.memory()
    except ValueError as error:
        return Promise("memory is flat", False, str(error))
    sizes = [sample.rss_bytes for sample in run.samples]
    ends = f"{sizes[0] / 1e6:.0f} MB at first, {max(sizes) / 1e6:.0f} at most, {sizes[-1] / 1e6:.0f} at last"
    line = found.line
    seen = f"{ends}; {line.per_s / 1e3:+.2f} kB/s ({line.low / 1e3:+.2f} to {line.high / 1e3:+.2f}), {_growth(found)}"
    return Promise("memory is flat", found.flat(GROWTH), seen)


def latency_is_flat(run: Soak) -> Promise:
    """Calls take as long at the end as they did once all was warm."""
    try:
        found = run.latency()
    except ValueError as error:
        return Promise("latency is flat", False, str(error))
    per_s, low, high = (6e4 * value for value in (found.line.per_s, found.line.low, found.line.high))
    seen = f"mean {1e3 * found.mean:.0f} ms; {per_s:+.2f} ms a minute ({low:+.2f} to {high:+.2f}), {_growth(found)}"
    return Promise("latency is flat", found.flat(LATENCY_GROWTH), seen)


def _growth(found: Trend) -> str:
    low, high = found.interval
    over = f"in {found.seconds:.0f} s, 95 % interval of {found.line.samples} block means"
    return f"{100 * found.growth:+.2f} % ({100 * low:+.2f} to {100 * high:+.2f}) {over}"


def figures(run: Soak, promises: Sequence[Promise]) -> dict[str, Any]:
    """Return everything that was seen, ready for JSON."""
    return {
        "capacity_per_s": round(run.capacity, 3),
        "phases": {name: asdict(one) for name, one in run.summaries().items()},
        "rss_bytes": _ends(run.samples),
        "trends": {"rss_bytes": _trend(run.memory), "latency_s": _trend(run.latency)},
        "promises": [asdict(promise) for promise in promises],
        "samples": [asdict(sample) for sample in run.samples],
    }


def _ends(samples: Sequence[Sample]) -> dict[str, float] | None:
    return {"start": samples[0].rss_bytes, "end": samples[-1].rss_bytes} if samples else None


def _trend(found: Callable[[], Trend]) -> dict[str, Any] | None:
    try:
        return asdict(found())
    except ValueError:
        return None


async def soak(target: Target, server: OwnServer | None, arguments: argparse.Namespace) -> tuple[Soak, list[Promise]]:
    """Measure the capacity, call for so long, and judge what was seen."""
    mix, seconds = mix_of(arguments), arguments.seconds
    can = await capacity(target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed)
    rate, warm_up = arguments.share * can, seconds * WARM_UP_SHARE
    say(f"{arguments.callers} callers get {can:.2f} answers a second; now {rate:.2f} calls a second for {seconds:g} s")
    phases = [Phase(WARM_UP, rate, warm_up), Phase(SOAK, rate, seconds - warm_up)]
    calls = schedule(phases, mix, arguments.seed, arguments.arrivals, arguments.retry_share)
    counted, progress = await answered(target), Progress(seconds)
    every = min(5.0, (seconds - warm_up) / BLOCKS / SAMPLES_A_BLOCK)
    outcomes, watch = await watched(target, calls, progress.ended, every, progress.sampled)
    told = None if server is None else dict(await answered(target) - counted)
    write_records(arguments.records, outcomes)
    seen = Soak(can, seconds, outcomes, watch.samples)
    return seen, judge(seen, told, None if server is None else server.errors_logged())


async def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Promise]]:
    """Start what is needed, run, print; return the figures and the promises."""
    async with service(arguments.url, arguments.api_key) as (target, server):
        facts = await circumstances(target)
        seen, promises = await soak(target, server, arguments)
    show(seen.summaries(), promises)
    return {"circumstances": facts, "share": arguments.share, **figures(seen, promises)}, promises


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800.0, help="of traffic, the warm-up with it")
    parser.add_argument("--share", type=float, default=CALM, help="of the capacity that is asked for")
    add_capacity_options(parser, 30.0)
    add_service_options(parser)
    add_traffic_options(parser)
    arguments = parser.parse_args(argv)
    found, promises = asyncio.run(run(arguments))
    finish(arguments.output, found, promises)


if __name__ == "__main__":
    main()
