"""Statistics by hand, and trends under correlated noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest.exchange import CUT, REFUSED
from deploy.loadtest.summary import BLOCKS, fit_line, in_time, nearest, percentile, percentiles, summarize, trend


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, q) for q in (50, 90, 99, 99.9, 100)] == [50, 90, 99, 100, 100]
    assert percentiles([])["p99"] is None
    assert percentiles([3, 1, 2]) == {"p50": 2, "p90": 3, "p95": 3, "p99": 3, "p999": 3, "max": 3}


def test_summary_by_hand(outcome: Callable[..., Any]) -> None:
    outcomes = [
        outcome(0.0, 0.2),
        outcome(1.0, 0.4, sent=1.1),
        outcome(2.0, 0.01, 429, retry_after=3.0),
        outcome(3.0, 0.01, 429, retry_after=1.0),
        outcome(3.5, 5.0, 0, failure=CUT),
        outcome(3.6, 0.0, 0, failure=REFUSED),
        outcome(3.7, 0.2, 422),
        outcome(5.01, 3.0, attempt=1),
    ]
    summary = summarize(outcomes, 4)
    assert [summary[name] for name in ("sent", "offered_per_s", "accepted_per_s", "lost")] == [7, 1.75, 0.5, 1]
    assert summary["by_status"] == {"200": 2, "422": 1, "429": 2, CUT: 1, REFUSED: 1}
    assert (summary["accepted_ms"]["p50"], summary["accepted_ms"]["p99"], summary["refused_ms"]["p50"]) == (
        200,
        400,
        10,
    )
    assert summary["lag_ms"]["max"] == 100
    assert summary["retry_after"] == {
        "refusals": 2,
        "mean_said_s": 2,
        "mean_wait_s": 0.4,  # both were due nearest to the call of 1.0
        "retried": 1,
        "retried_accepted": 1,
    }


def test_in_time_counts_from_when_a_call_was_due(outcome: Callable[..., Any]) -> None:
    outcomes = [
        outcome(0.0, 1.0),
        outcome(5.0, 1.01),
        outcome(6.0, 0.1, 429),
        outcome(7.0, 0.1, 0, failure=CUT),
        outcome(8.0, 1.2, sent=8.9),  # the generator's own delay counts
        outcome(9.0, 0.2),
    ]
    assert in_time(outcomes, 1.0) == 2
    assert in_time(outcomes, 2.0) == 4
    assert in_time([], 1.0) == 0


def test_throughput_counts_until_the_backlog_has_been_answered(outcome: Callable[..., Any]) -> None:
    late = [outcome(at / 10, 8.0 - at / 10) for at in range(10)]  # all answered at 8 s
    assert summarize(late, 1)["accepted_per_s"] == 1.25


def test_nearest_outcome_is_before_or_after(outcome: Callable[..., Any]) -> None:
    ordered = [outcome(at, 0.1) for at in (1.0, 2.0, 4.0)]
    assert [nearest(ordered, at).due for at in (0.0, 1.4, 1.6, 2.9, 3.1, 9.0)] == [1, 1, 2, 2, 4, 4]


def test_line_by_hand() -> None:
    line = fit_line([0, 1, 2, 3], [1, 3, 2, 4])
    assert line.slope == pytest.approx(0.8)
    assert line.high - line.slope == pytest.approx(line.slope - line.low) == pytest.approx(4.303 * 0.18**0.5, rel=1e-3)
    with pytest.raises(ValueError, match="three values"):
        fit_line([0, 1], [0, 1])


def wandering(seed: int, count: int, tie: float = 0.9) -> list[float]:
    """Return noise about 0 each value of which is mostly the one before it."""
    rng, value, values = random.Random(seed), 0.0, []
    for _ in range(count):
        value = tie * value + rng.gauss(0, 1)
        values.append(value)
    return values


def test_trend_finds_a_straight_line() -> None:
    times = [10 + at / 10 for at in range(2000)]
    found = trend([*times, 300.0], [*(5 + 2 * at for at in times), 1e9], 10, 210)
    assert found.mean == pytest.approx(5 + 2 * 110, rel=1e-3)
    assert found.growth == pytest.approx(400 / 225, rel=1e-3)
    assert (found.low, found.high) == (pytest.approx(found.growth), pytest.approx(found.growth))
    assert not found.is_flat(1.5)
    assert found.is_flat(2)


def test_trend_interval_is_of_the_block_means() -> None:
    values = [1 + block % 2 for block in range(BLOCKS)]
    found = trend([block + 0.5 for block in range(BLOCKS)], values, 0, BLOCKS)
    slope = found.growth * found.mean / BLOCKS
    spread = sum((block - 9.5) ** 2 for block in range(BLOCKS))
    rest = sum((value - 1.5 - slope * (block - 9.5)) ** 2 for block, value in enumerate(values))
    half = (found.high - found.growth) * found.mean / BLOCKS
    assert half == pytest.approx(2.101 * (rest / 18 / spread) ** 0.5, rel=1e-3)  # Student's t, 18 degrees of freedom


def test_trend_hardly_ever_takes_correlated_noise_for_growth() -> None:
    """Of 200 flat series 2.5 % should seem to grow; a line through the values themselves errs far more often."""
    times = [float(at) for at in range(2000)]
    trends = [trend(times, [100 + noise for noise in wandering(seed, 2000)], 0, 2000) for seed in range(200)]
    assert sum(found.low > 0 for found in trends) <= 12
    assert sum(fit_line(times, wandering(seed, 2000)).low > 0 for seed in range(200)) > 50


def test_trend_finds_a_slow_leak_under_correlated_noise() -> None:
    times = [float(at) for at in range(2000)]
    leak = [100 + 0.01 * at + noise for at, noise in zip(times, wandering(1, 2000), strict=True)]
    found = trend(times, leak, 0, 2000)
    assert found.low > 0
    assert found.growth == pytest.approx(20 / 110, rel=0.2)
    assert not found.is_flat(0.05)


def test_trend_needs_values_in_ten_blocks() -> None:
    with pytest.raises(ValueError, match="10 blocks with values, not 2"):
        trend([0.5, 5.5, 5.6, 12.5], [1, 1, 1, float("nan")], 0, 20)
