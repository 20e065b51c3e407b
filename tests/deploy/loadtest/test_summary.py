"""The arithmetic of many outcomes, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy.loadtest.exchange import CUT, REFUSED
from deploy.loadtest.summary import nearest, percentile, percentiles, summarize


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, q) for q in (0.5, 0.9, 0.99, 0.999, 1.0)] == [50, 90, 99, 100, 100]
    assert percentile([7.0], 0.5) == 7
    assert percentiles([]).p99 is None
    found = percentiles([3, 1, 2])
    assert (found.count, found.p50, found.p99, found.greatest) == (3, 2, 3, 3)


def test_a_summary_by_hand(outcome: Callable[..., Any]) -> None:
    outcomes = [
        outcome(0.0, 0.2),
        outcome(1.0, 0.4, sent=1.1),
        outcome(2.0, 0.01, 429, retry_after=3.0, problem="queue-full"),
        outcome(3.0, 0.01, 429, retry_after=1.0, problem="queue-full", detail="Full."),
        outcome(3.5, 5.0, 0, failure=CUT),
        outcome(3.6, 0.0, 0, failure=REFUSED),
        outcome(3.7, 0.2, 422, problem="bad-parameter", detail="r: 0"),
        outcome(5.01, 3.0, attempt=1),
    ]
    found = summarize(outcomes, 4)
    assert (found.sent, found.offered_per_s, found.accepted_per_s, found.lost) == (7, 1.75, 0.5, 1)
    assert found.by_status == {"200": 2, "422": 1, "429": 2, CUT: 1, REFUSED: 1}
    assert found.shares == {"200": 0.2857, "422": 0.1429, "429": 0.2857, CUT: 0.1429, REFUSED: 0.1429}
    assert (found.accepted_ms.p50, found.accepted_ms.p99, found.refused_ms.p50) == (200, 400, 10)
    assert found.generator_lag_ms.greatest == 100
    assert found.causes == {"422 bad-parameter": 1, "429 queue-full": 1, "429 queue-full: Full.": 1}
    told = found.retry_after
    assert (told.refusals, told.without, told.mean_said_s) == (2, 0, 2)
    assert told.mean_said_by_cause_s == {"429 queue-full": 3, "429 queue-full: Full.": 1}
    assert told.mean_wait_s == 0.4  # both were due nearest to the call of 1.0
    assert (told.retried, told.retried_accepted) == (1, 1)


def test_throughput_counts_until_the_backlog_has_been_answered(outcome: Callable[..., Any]) -> None:
    late = [outcome(at / 10, 8.0 - at / 10) for at in range(10)]  # all answered at 8 s
    assert summarize(late, 1).accepted_per_s == 1.25


def test_the_nearest_is_before_or_after(outcome: Callable[..., Any]) -> None:
    ordered = [outcome(at, 0.1) for at in (1.0, 2.0, 4.0)]
    assert [nearest(ordered, at).due for at in (0.0, 1.4, 1.6, 2.9, 3.1, 9.0)] == [1, 1, 2, 2, 4, 4]
