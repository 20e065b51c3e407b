"""What many outcomes come to: rates, shares, percentiles, and whether Retry-After told the truth."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import REFUSED

QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of `count` values: nearest-rank percentiles and the greatest, in the values' unit; None without values."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    greatest: float | None


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """What refusals promised, against what was seen.

    `mean_said_s` is their mean Retry-After, `mean_said_by_cause_s` that of each kind of refusal. `mean_wait_s` is the
    mean latency of the accepted calls that were due at the same times: so long it took until the work that was ahead
    had been done. `retried` calls were sent again after their Retry-After, `retried_accepted` of them were accepted.
    """

    refusals: int
    without: int
    mean_said_s: float | None
    mean_said_by_cause_s: dict[str, float | None]
    mean_wait_s: float | None
    retried: int
    retried_accepted: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcomes of one phase. `lost` calls were sent, and got no answer or more than one.

    `accepted_per_s` counts up to the last answer to an accepted call, which may come after the phase. `accepted_ms`,
    `refused_ms`: latencies of calls that got 200 and 429; `generator_lag_ms`: how late calls were sent.
    """

    seconds: float
    sent: int
    offered_per_s: float
    accepted_per_s: float
    by_status: dict[str, int]
    shares: dict[str, float]
    lost: int
    accepted_ms: Percentiles
    refused_ms: Percentiles
    generator_lag_ms: Percentiles
    retry_after: RetryAfter
    causes: dict[str, int]


def percentile(ordered: Sequence[float], q: float) -> float:
    """Return the least of the values, in ascending order, that a share q of them does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def percentiles(values: Iterable[float]) -> Percentiles:
    """Return the percentiles that a Summary shows, rounded to three decimals."""
    ordered = sorted(values)
    if not ordered:
        return Percentiles(0, None, None, None, None, None)
    p50, p90, p99, p999, greatest = (round(percentile(ordered, q), 3) for q in (*QUANTILES, 1.0))
    return Percentiles(len(ordered), p50, p90, p99, p999, greatest)


def summarize(outcomes: Sequence[Outcome], seconds: float) -> Summary:
    """Sum up what was due within `seconds`. First attempts count as sent; later ones only for Retry-After."""
    first = [one for one in outcomes if one.attempt == 0]
    accepted = [one for one in first if one.accepted]
    refused = [one for one in first if one.status == 429]
    by_status = Counter(one.failure or str(one.status) for one in first)
    sent = len(first)
    took = max((one.ended for one in accepted), default=0.0) - min((one.due for one in first), default=0.0)
    return Summary(
        seconds=round(seconds, 3),
        sent=sent,
        offered_per_s=round(sent / seconds, 3),
        accepted_per_s=round(len(accepted) / max(seconds, took), 3),
        by_status=dict(sorted(by_status.items())),
        shares={name: round(count / sent, 4) for name, count in sorted(by_status.items())},
        lost=sum(one.failure not in ("", REFUSED) for one in first),
        accepted_ms=percentiles(1e3 * one.latency for one in accepted),
        refused_ms=percentiles(1e3 * one.latency for one in refused),
        generator_lag_ms=percentiles(1e3 * one.lag for one in first),
        retry_after=retry_after(outcomes),
        causes=dict(sorted(Counter(_cause(one) for one in first if one.problem).items())),
    )


def retry_after(outcomes: Sequence[Outcome]) -> RetryAfter:
    """Compare each refusal's Retry-After with the latency of the accepted call that was due nearest to it."""
    refused = [one for one in outcomes if one.status == 429 and one.attempt == 0]
    told = [one for one in refused if one.retry_after is not None]
    accepted = sorted((one for one in outcomes if one.accepted), key=lambda one: one.due)
    waits = [nearest(accepted, one.due).latency for one in told] if accepted else []
    retried = [one for one in outcomes if one.attempt > 0]
    return RetryAfter(
        refusals=len(refused),
        without=len(refused) - len(told),
        mean_said_s=_mean_said(told),
        mean_said_by_cause_s={
            cause: _mean_said([one for one in told if _cause(one) == cause])
            for cause in sorted({_cause(one) for one in told})
        },
        mean_wait_s=_mean(waits),
        retried=len(retried),
        retried_accepted=sum(one.accepted for one in retried),
    )


def nearest(ordered: Sequence[Outcome], due: float) -> Outcome:
    """Return the outcome that was due nearest to a time, of at least one in order of `due`."""
    at = bisect_left(ordered, due, key=lambda one: one.due)
    return min(ordered[max(0, at - 1) : at + 1], key=lambda one: abs(one.due - due))


def _mean_said(refused: Sequence[Outcome]) -> float | None:
    return _mean([one.retry_after or 0.0 for one in refused])


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def _cause(outcome: Outcome) -> str:
    told = outcome.detail if outcome.status in (429, 503) else ""  # others name what is wrong with the one request
    return f"{outcome.status} {outcome.problem}" + (f": {told}" if told else "")
