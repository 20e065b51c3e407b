"""Ten times the load that a service can take: it refuses the rest, answers what it accepted, and recovers.

    python -m deploy.loadtest.overload [--seconds 120] [--factor 10] [--url http://127.0.0.1:8000] [--output FILE]

Measures the capacity, sends a share of that, ten times that, then the share again. Without --url it starts a service,
with the settings of the environment. The exit status is 1 when a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deploy.loadtest.checks import Check, Run, common_checks, finish, memory
from deploy.loadtest.load import Outcome, Phase, capacity, schedule
from deploy.loadtest.program import CALM, environment, mix_of, observe, options, service
from deploy.loadtest.summary import fit_line, percentile, retry_after, summarize
from deploy.loadtest.watch import Sample, model_card

BEFORE: Final = "before"
OVERLOAD: Final = "overload"
AFTER: Final = "after"
SLACK_SECONDS: Final = 5.0
"""Noise of a recovery, on top of the time that the backlog takes."""
GROWTH: Final = 0.05
"""Share of the memory at the middle of the overload by which it may grow in the second half."""


@dataclass(frozen=True, slots=True)
class Overload(Run):
    """A run of three phases, with their lengths in seconds by name; the capacity is in calls a second."""

    capacity: float
    seconds: dict[str, float]
    max_queue: int
    max_inflight: int

    @property
    def ends(self) -> float:
        """When the overload ends."""
        return self.seconds[BEFORE] + self.seconds[OVERLOAD]

    def of(self, phase: str) -> list[Outcome]:
        """Return the attempts of a phase's calls."""
        return [outcome for outcome in self.outcomes if outcome.phase == phase]

    def second_half(self) -> list[Sample]:
        """Return the samples of the second half of the overload, where the queue is full."""
        begins = self.ends - self.seconds[OVERLOAD] / 2
        return [one for one in self.samples if begins <= one.at < self.ends and math.isfinite(one.rss_bytes)]


def run_checks(run: Overload) -> list[Check]:
    """Check every guarantee."""
    return [
        *common_checks(run),
        refuses_with_429(run),
        answers_in_time(run),
        retry_after_is_right(run),
        queue_is_bounded(run),
        memory_does_not_grow(run),
        recovers(run),
    ]


def refuses_with_429(run: Overload) -> Check:
    """Check that the rest is refused at the door, with the time after which to come back."""
    others = Counter(one.status for one in run.outcomes if one.status not in (0, 200, 429))
    silent = sum(one.status == 429 and one.retry_after is None for one in run.outcomes)
    observed = f"other statuses: {dict(others) or 0}; 429s without Retry-After: {silent}"
    return Check("what is not accepted gets 429 with Retry-After", not others and not silent, observed)


def answers_in_time(run: Overload) -> Check:
    """Check that 99 of 100 accepted calls of the overload have their answer before their deadline."""
    name = "accepted requests keep p99 within the deadline"
    shares = [one.latency / (one.deadline_ms / 1e3) for one in run.of(OVERLOAD) if one.accepted]
    if not shares:
        return Check(name, False, "none was accepted")
    p99 = percentile(shares, 99)
    return Check(name, p99 <= 1, f"p99 at {p99:.3f} of the deadline, of {len(shares)} accepted")


def retry_after_is_right(run: Overload) -> Check:
    """Check that it is, on average, half to twice the time until the work ahead was done, or at most a second off.

    A whole second, as the header has no fractions and is at least 1.
    """
    name, observed = "Retry-After is right on average", retry_after(run.of(OVERLOAD))
    said, wait = observed.mean_said_s, observed.mean_wait_s
    if said is None or wait is None:
        return Check(name, observed.refusals == 0, str(observed))
    came_back = f"{observed.retried_accepted} of {observed.retried} that came back got in"
    holds = abs(said - wait) <= 1 or wait / 2 <= said <= 2 * wait
    return Check(name, holds, f"said {said:.2f} s, true {wait:.2f} s; {came_back}")


def queue_is_bounded(run: Overload) -> Check:
    """Check that the gauges never exceed their settings."""
    measured = [one for one in run.samples if math.isfinite(one.queue_depth)]
    depth = max((one.queue_depth for one in measured), default=math.nan)
    inflight = max((one.inflight for one in measured), default=math.nan)
    observed = f"queue at most {depth:g} of {run.max_queue}, under way at most {inflight:g} of {run.max_inflight}"
    return Check("the queue is bounded", depth <= run.max_queue and inflight <= run.max_inflight, observed)


def memory_does_not_grow(run: Overload) -> Check:
    """Check that memory stays once the queue is full."""
    half = run.second_half()
    try:
        line = fit_line([one.at for one in half], [one.rss_bytes for one in half])
    except ValueError as error:
        return Check("memory does not grow", False, str(error))
    grown = max(0.0, line.low) * run.seconds[OVERLOAD] / 2 / half[0].rss_bytes
    slope = f"{line.slope / 1e3:+.1f} kB/s ({line.low / 1e3:+.1f} to {line.high / 1e3:+.1f})"
    observed = f"{memory(run.samples)}; {slope} in the second half of the overload"
    return Check("memory does not grow", grown <= GROWTH, observed)


def recovers(run: Overload) -> Check:
    """Check that calls take what they took before, at most twice that p99, as soon as the backlog is done."""
    took, backlog = recovery_seconds(run), backlog_seconds(run)
    observed = f"{'never' if took is None else f'{took:.1f} s'} after the end; the backlog was {backlog:.1f} s of work"
    return Check("back to normal at once", took is not None and took <= 1.5 * backlog + SLACK_SECONDS, observed)


def backlog_seconds(run: Overload) -> float:
    """Return how long what is under way at the end of the overload takes, beside the calls that still come."""
    left = sum(one.due < run.ends < one.ended and one.accepted for one in run.outcomes)
    calm = len(run.of(AFTER)) / run.seconds[AFTER]
    return left / max(run.capacity - calm, run.capacity / 10)


def recovery_seconds(run: Overload) -> float | None:
    """Return the seconds after the overload from which every call was accepted, none slower than before it."""
    before = [one.latency for one in run.of(BEFORE) if one.accepted]
    after = [one for one in run.of(AFTER) if one.attempt == 0]
    if not before or not after:
        return None
    normal = max(2 * percentile(before, 99), 0.1)
    last_bad = max((one.due for one in after if not one.accepted or one.latency > normal), default=-math.inf)
    good = [one.due for one in after if one.due > last_bad]
    return max(0.0, min(good) - run.ends) if good else None


async def run(arguments: argparse.Namespace) -> None:
    """Run the phases, and finish with the checks."""
    mix = mix_of(arguments)
    with service(arguments.url, arguments.api_key) as (target, server):
        results: dict[str, Any] = {"environment": await environment(target), "factor": arguments.factor}
        limits = (await model_card(target))["limits"]
        rate = await capacity(target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed)
        print(f"{arguments.callers} callers get {rate:.2f} answers a second; now {arguments.factor:g} times that")
        # Long enough to show the backlog done, and calls normal again.
        backlog = min(limits["max_inflight"] / rate, max(mix.deadlines_ms) / 1e3) / (1 - CALM)
        calm = arguments.calm_seconds
        phases = [
            Phase(BEFORE, CALM * rate, calm),
            Phase(OVERLOAD, arguments.factor * rate, arguments.seconds),
            Phase(AFTER, CALM * rate, 1.5 * backlog + SLACK_SECONDS + calm),
        ]
        seconds = {phase.name: phase.seconds for phase in phases}
        calls = schedule(phases, mix, arguments.seed, arguments.come_back)
        observed = await observe(target, server, calls, every=min(1.0, arguments.seconds / 20))
    overload = Overload(*observed, rate, seconds, limits["max_queue"], limits["max_inflight"])
    results |= {
        "capacity_per_s": round(rate, 3),
        "recovery_s": recovery_seconds(overload),
        "backlog_s": backlog_seconds(overload),
    }
    summaries = {name: summarize(overload.of(name), length) for name, length in seconds.items()}
    finish(arguments.output, results, summaries, run_checks(overload))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a check fails."""
    parser = options(__doc__)
    parser.add_argument("--factor", type=float, default=10.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the overload")
    parser.add_argument("--calm-seconds", type=float, default=15.0, help="before it, and after the backlog is done")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
