"""What the service promises under overload, judged by what was seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from deploy.loadtest.callers import Outcome
from deploy.loadtest.report import Promise
from deploy.loadtest.summary import Summary, percentile, retry_after, summarize
from deploy.loadtest.watch import Sample, Slope, slope

BEFORE: Final = "before"
OVERLOAD: Final = "overload"
AFTER: Final = "after"
PHASES: Final = (BEFORE, OVERLOAD, AFTER)
SLACK_SECONDS: Final = 5.0
"""Of a recovery: noise, on top of the time that the backlog takes."""
GROWTH: Final = 0.05
"""Of the memory at the middle of the overload, that it may grow by in the second half."""


class Seen(Protocol):
    """What some promises are judged by, whatever the run: all attempts, and the service's own account."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Every attempt."""

    @property
    def samples(self) -> Sequence[Sample]:
        """What the service said, in order."""


@dataclass(frozen=True, slots=True)
class Overload:
    """A run: its phases one after the other, and what was seen. Times in seconds, rates in calls a second."""

    capacity: float
    calm_seconds: float
    overload_seconds: float
    after_seconds: float
    outcomes: Sequence[Outcome]
    samples: Sequence[Sample]
    max_queue: int
    max_inflight: int

    @property
    def seconds(self) -> dict[str, float]:
        """How long each phase lasts."""
        return dict(zip(PHASES, (self.calm_seconds, self.overload_seconds, self.after_seconds), strict=True))

    @property
    def ends(self) -> float:
        """When the overload ends."""
        return self.calm_seconds + self.overload_seconds

    def of(self, phase: str) -> list[Outcome]:
        """Return the attempts of a phase's calls."""
        return [one for one in self.outcomes if one.phase == phase]

    def summaries(self) -> dict[str, Summary]:
        """Sum up each phase."""
        return {name: summarize(self.of(name), seconds) for name, seconds in self.seconds.items()}

    def sampled(self, begins: float, ends: float) -> list[Sample]:
        """Return the samples of a time."""
        return [sample for sample in self.samples if begins <= sample.at < ends]


def judge(run: Overload, told: dict[str, int] | None, errors_logged: int | None) -> list[Promise]:
    """Judge every promise. `told`: answers by status that the service counted itself; None: others called too."""
    promises = [one_answer_each(run), only_200_and_429(run), in_time(run), told_when(run), bounded(run), no_growth(run)]
    return [*promises, alive(run), recovers(run), *accounts(run, told, errors_logged)]


def accounts(run: Seen, told: dict[str, int] | None, errors_logged: int | None) -> list[Promise]:
    """Judge what the service says itself; nothing of what is None."""
    promises = [] if told is None else [accounts_agree(run, told)]
    if errors_logged is not None:
        promises.append(Promise("it logs no error", errors_logged == 0, f"{errors_logged} lines"))
    return promises


def one_answer_each(run: Seen) -> Promise:
    """None is cut off, left to hang, refused at the port or answered twice."""
    failures = Counter(one.failure for one in run.outcomes if one.failure)
    seen = f"{len(run.outcomes)} requests, without one answer: {dict(failures) or 0}"
    return Promise("every request gets exactly one answer", not failures, seen)


def only_200_and_429(run: Overload) -> Promise:
    """What is not accepted is refused at the door, with the time after which to come back."""
    others = Counter(one.status for one in run.outcomes if one.status not in (0, 200, 429))
    silent = sum(1 for one in run.outcomes if one.status == 429 and one.retry_after is None)
    seen = f"other statuses: {dict(others) or 0}; 429s without Retry-After: {silent}"
    return Promise("what is not accepted gets 429 with Retry-After", not others and not silent, seen)


def in_time(run: Overload) -> Promise:
    """Of those accepted in the overload, 99 of 100 have their answer before their deadline."""
    accepted = [one for one in run.of(OVERLOAD) if one.accepted]
    if not accepted:
        return Promise("accepted requests keep p99 within the deadline", False, "none was accepted")
    shares = sorted(one.latency / (one.deadline_ms / 1e3) for one in accepted)
    p99 = percentile(shares, 0.99)
    seen = f"p99 at {p99:.3f} of the deadline, of {len(accepted)} accepted"
    return Promise("accepted requests keep p99 within the deadline", p99 <= 1, seen)


def told_when(run: Overload) -> Promise:
    """Retry-After, on average, is between half and twice the time until what was ahead had been done, or a second off.

    A whole second, as the header has no fractions and is at least 1.
    """
    found = retry_after(run.of(OVERLOAD))
    if found.mean_said_s is None or found.mean_wait_s is None:
        return Promise("Retry-After is right on average", found.refusals == 0, str(asdict(found)))
    said, wait = found.mean_said_s, found.mean_wait_s
    holds = abs(said - wait) <= 1 or wait / 2 <= said <= 2 * wait
    seen = f"said {said:.2f} s, true {wait:.2f} s; {found.retried_accepted} of {found.retried} who came back got in"
    return Promise("Retry-After is right on average", holds, seen)


def bounded(run: Overload) -> Promise:
    """The gauges never exceed their settings."""
    depth = max((sample.queue_depth for sample in run.samples), default=math.nan)
    inflight = max((sample.inflight for sample in run.samples), default=math.nan)
    seen = f"queue at most {depth:g} of {run.max_queue}, under way at most {inflight:g} of {run.max_inflight}"
    return Promise("the queue is bounded", depth <= run.max_queue and inflight <= run.max_inflight, seen)


def memory_slope(run: Overload) -> Slope | None:
    """Bytes a second that the process grows by in the second half of the overload; None: too few samples."""
    half = run.sampled(run.calm_seconds + run.overload_seconds / 2, run.ends)
    try:
        return slope([sample.at for sample in half], [sample.rss_bytes for sample in half])
    except ValueError:
        return None


def no_growth(run: Overload) -> Promise:
    """Memory, once the queue is full, stays."""
    found = memory_slope(run)
    if found is None:
        return Promise("memory does not grow", False, "too few samples of it: too short a run, or no answers")
    sizes = [sample.rss_bytes for sample in run.samples]
    middle = run.sampled(run.calm_seconds + run.overload_seconds / 2, run.ends)[0].rss_bytes
    grown = max(0.0, found.low) * run.overload_seconds / 2 / middle
    interval = f"{found.per_s / 1e3:+.1f} kB/s ({found.low / 1e3:+.1f} to {found.high / 1e3:+.1f})"
    seen = (
        f"{sizes[0] / 1e6:.0f} MB at first, {max(sizes) / 1e6:.0f} at most, {sizes[-1] / 1e6:.0f} at last; {interval}"
    )
    return Promise("memory does not grow", grown <= GROWTH, f"{seen} in the second half of the overload")


def alive(run: Seen) -> Promise:
    """A supervisor that asks /livez has no reason to kill it."""
    dead = sum(1 for sample in run.samples if sample.live != 200)
    slowest = max((sample.live_seconds for sample in run.samples), default=math.nan)
    seen = f"{len(run.samples)} probes, {dead} failed, the slowest took {slowest:.2f} s"
    return Promise("it stays live", dead == 0 and bool(run.samples), seen)


def backlog_seconds(run: Overload) -> float:
    """How long what is under way when the overload ends takes, beside the calls that still come."""
    left = sum(1 for one in run.outcomes if one.due < run.ends < one.ended and one.accepted)
    calm = len(run.of(AFTER)) / run.after_seconds
    return left / max(run.capacity - calm, run.capacity / 10)


def recovery_seconds(run: Overload) -> float | None:
    """Seconds after the overload from which every call was accepted and none slower than the slowest before it."""
    before = [one.latency for one in run.of(BEFORE) if one.accepted]
    after = [one for one in run.of(AFTER) if one.attempt == 0]
    if not before or not after:
        return None
    normal = max(2 * percentile(sorted(before), 0.99), 0.1)
    bad = [one.due for one in after if not one.accepted or one.latency > normal]
    since = [one.due for one in after if not bad or one.due > max(bad)]
    return max(0.0, min(since) - run.ends) if since else None


def recovers(run: Overload) -> Promise:
    """As soon as the backlog is done, calls take what they took before: twice the p99 of then at most."""
    took, backlog = recovery_seconds(run), backlog_seconds(run)
    seen = f"{'never' if took is None else f'{took:.1f} s'} after the end; the backlog was {backlog:.1f} s of work"
    return Promise("back to normal at once", took is not None and took <= 1.5 * backlog + SLACK_SECONDS, seen)


def accounts_agree(run: Seen, told: dict[str, int]) -> Promise:
    """The service's own counts are those of its callers."""
    ours = Counter(str(one.status) for one in run.outcomes if one.status)
    return Promise("its metrics count what callers saw", dict(ours) == told, f"callers {dict(ours)}, metrics {told}")


def figures(run: Overload, promises: Sequence[Promise]) -> dict[str, Any]:
    """Return everything that was seen, ready for JSON."""
    found = memory_slope(run)
    return {
        "capacity_per_s": round(run.capacity, 3),
        "phases": {name: asdict(one) for name, one in run.summaries().items()},
        "recovery_s": recovery_seconds(run),
        "backlog_s": backlog_seconds(run),
        "rss_slope_bytes_per_s": None if found is None else asdict(found),
        "promises": [asdict(promise) for promise in promises],
        "samples": [asdict(sample) for sample in run.samples],
    }
