"""Statistics of a run: rates, percentiles, Retry-After against the true wait, and trends with their intervals."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from deploy.loadtest.exchange import REFUSED
from deploy.loadtest.load import Outcome

BLOCKS: Final = 20
MIN_BLOCKS: Final = 10
"""The number of blocks with values that a trend needs."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The mean Retry-After of refusals, and the mean latency of the accepted calls that were due at the same times.

    The latter is the time until the work that was ahead had been done. Of the calls that came back after their
    Retry-After (`retried`), `retried_accepted` were accepted.
    """

    refusals: int
    mean_said_s: float | None
    mean_wait_s: float | None
    retried: int
    retried_accepted: int


@dataclass(frozen=True, slots=True)
class Line:
    """The slope of a least-squares line, and its 95 % interval by Student's t."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The mean over a run, its growth over the whole time as a share of it, and the growth's 95 % interval."""

    mean: float
    growth: float
    low: float
    high: float
    seconds: float

    def is_flat(self, bound: float) -> bool:
        """Tell whether the growth may be 0, or is at most `bound`."""
        return self.low <= 0 or self.growth <= bound

    def __str__(self) -> str:
        shares = f"{100 * self.growth:+.2f} % ({100 * self.low:+.2f} to {100 * self.high:+.2f})"
        return f"{shares} in {self.seconds:.0f} s, 95 % interval of block means"


def percentile(values: Sequence[float], q: float) -> float:
    """Return the least of the values that q percent of them do not exceed (nearest rank)."""
    return float(np.percentile(values, q, method="inverted_cdf"))


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return the percentiles of a summary; None for each without values."""
    return {
        name: round(percentile(values, q), 3) if values else None
        for name, q in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("p999", 99.9), ("max", 100))
    }


def summarize(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Summarize the calls that were due within `seconds`. Only first attempts count, except for Retry-After.

    `lost` calls were sent, and got no answer or more than one. `accepted_per_s` counts up to the last answer to an
    accepted call, which may come after the phase. `lag_ms` is how late the generator sent calls.
    """
    first = [outcome for outcome in outcomes if outcome.attempt == 0]
    accepted = [outcome for outcome in first if outcome.accepted]
    took = max((outcome.ended for outcome in accepted), default=0.0) - min((one.due for one in first), default=0.0)
    return {
        "seconds": round(seconds, 3),
        "sent": len(first),
        "offered_per_s": round(len(first) / seconds, 3),
        "accepted_per_s": round(len(accepted) / max(seconds, took), 3),
        "by_status": dict(sorted(Counter(outcome.result for outcome in first).items())),
        "lost": sum(outcome.failure not in ("", REFUSED) for outcome in first),
        "accepted_ms": percentiles([1e3 * outcome.latency for outcome in accepted]),
        "refused_ms": percentiles([1e3 * outcome.latency for outcome in first if outcome.status == 429]),
        "lag_ms": percentiles([1e3 * outcome.lag for outcome in first]),
        "retry_after": asdict(retry_after(outcomes)),
    }


def in_time(outcomes: Sequence[Outcome], deadline_s: float) -> int:
    """Return the number of calls that got a 200 within `deadline_s` of when they were due."""
    return sum(outcome.accepted and outcome.latency <= deadline_s for outcome in outcomes)


def retry_after(outcomes: Sequence[Outcome]) -> RetryAfter:
    """Compare each refusal's Retry-After with the latency of the accepted call that was due nearest to it."""
    refused = [outcome for outcome in outcomes if outcome.status == 429 and outcome.attempt == 0]
    accepted = sorted((outcome for outcome in outcomes if outcome.accepted), key=lambda outcome: outcome.due)
    retried = [outcome for outcome in outcomes if outcome.attempt > 0]
    return RetryAfter(
        refusals=len(refused),
        mean_said_s=_mean([outcome.retry_after for outcome in refused if outcome.retry_after is not None]),
        mean_wait_s=_mean([nearest(accepted, outcome.due).latency for outcome in refused if accepted]),
        retried=len(retried),
        retried_accepted=sum(outcome.accepted for outcome in retried),
    )


def nearest(ordered: Sequence[Outcome], due: float) -> Outcome:
    """Return the outcome that was due nearest to a time, of at least one in order of `due`."""
    index = bisect_left(ordered, due, key=lambda outcome: outcome.due)
    return min(ordered[max(0, index - 1) : index + 1], key=lambda outcome: abs(outcome.due - due))


def fit_line(times: Sequence[float], values: Sequence[float]) -> Line:
    """Fit a line. Raises ValueError for fewer than three values, or all at one time."""
    from scipy.stats import linregress, t

    if len(values) < 3:
        raise ValueError(f"a line needs three values at least, not {len(values)}")
    line = linregress(times, values)
    error = line.stderr * t.ppf(0.975, len(values) - 2)
    return Line(float(line.slope), float(line.slope - error), float(line.slope + error))


def trend(times: Sequence[float], values: Sequence[float], begins: float, ends: float) -> Trend:
    """Fit a line to the means of 20 blocks of [begins, ends) of equal length; NaN is left out.

    What is measured at successive times is correlated: memory grows in steps, a slow call slows those behind it. An
    interval from the values themselves would be far too narrow. The means of blocks much longer than the correlation
    are as good as independent: 75 s in half an hour, against a few seconds of queue; not in a run of seconds.

    Raises ValueError where fewer than ten blocks have values.
    """
    at, value = np.asarray(times, float), np.asarray(values, float)
    kept = (at >= begins) & (at < ends) & np.isfinite(value)
    block = ((at[kept] - begins) / (ends - begins) * BLOCKS).astype(int)
    count = np.bincount(block, minlength=BLOCKS)
    used = count > 0
    if used.sum() < MIN_BLOCKS:
        raise ValueError(f"a trend needs {MIN_BLOCKS} blocks with values, not {used.sum()}")
    means = np.bincount(block, value[kept], BLOCKS)[used] / count[used]
    line = fit_line([*(np.flatnonzero(used) + 0.5) / BLOCKS], [*means])
    mean = float(means.mean())
    return Trend(mean, line.slope / mean, line.low / mean, line.high / mean, ends - begins)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
