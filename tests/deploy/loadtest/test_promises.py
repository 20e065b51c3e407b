"""Each promise under overload, kept and broken by made-up outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from deploy.loadtest import promises
from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import CUT, EXTRA
from deploy.loadtest.watch import Sample


@pytest.fixture
def overloaded(outcome: Callable[..., Outcome]) -> Callable[..., promises.Overload]:
    """Return a function that makes a run of 10 s of calm, 20 of overload, 20 of calm at a capacity of 10."""
    samples = [Sample(at + 0.5, 1e8, at, 5, 10, 0.01, 200, 0.01) for at in range(50)]
    calm = [outcome(at, 0.1, phase="before") for at in range(10)]
    after = [outcome(30 + at, 0.1, phase="after") for at in range(20)]

    def run(outcomes: Sequence[Outcome]) -> promises.Overload:
        return promises.Overload(10, 10, 20, 20, [*calm, *outcomes, *after], samples, max_queue=8, max_inflight=16)

    return run


@pytest.fixture
def good(outcome: Callable[..., Outcome]) -> list[Outcome]:
    """An overload in which every promise is kept."""
    return [
        *(outcome(10 + at / 10, 0.9) for at in range(200)),
        *(outcome(10 + at / 10, 0.01, 429, retry_after=1.0) for at in range(200)),
    ]


def broken(run: Any, told: dict[str, int] | None = None, errors: int | None = 0) -> set[str]:
    told = dict(Counter(str(one.status) for one in run.outcomes if one.status)) if told is None else told
    return {promise.name for promise in promises.judge(run, told, errors) if not promise.holds}


def test_a_good_run_breaks_no_promise(overloaded: Callable[..., Any], good: list[Outcome]) -> None:
    assert broken(overloaded(good)) == set()


@pytest.mark.parametrize(
    ("added", "name"),
    [
        ({"status": 0, "failure": CUT}, "every request gets exactly one answer"),
        ({"failure": EXTRA}, "every request gets exactly one answer"),
        ({"status": 504}, "what is not accepted gets 429 with Retry-After"),
        ({"status": 429}, "what is not accepted gets 429 with Retry-After"),
    ],
)
def test_one_bad_answer_breaks_a_promise(
    overloaded: Callable[..., Any],
    good: list[Outcome],
    outcome: Callable[..., Outcome],
    added: dict[str, Any],
    name: str,
) -> None:
    assert broken(overloaded([*good, outcome(15, 0.1, **added)])) == {name}


def test_what_breaks_the_other_promises(overloaded: Callable[..., Any], good: list[Outcome]) -> None:
    slow = [replace(one, ended=one.due + 1.1) if one.accepted else one for one in good]
    assert broken(overloaded(slow)) == {"accepted requests keep p99 within the deadline"}
    assert "accepted requests keep p99 within the deadline" in broken(overloaded([]))
    wrong = [one if one.accepted else replace(one, retry_after=30.0) for one in good]
    assert broken(overloaded(wrong)) == {"Retry-After is right on average"}
    run = overloaded(good)
    deep = [replace(sample, queue_depth=9) for sample in run.samples]
    assert broken(replace(run, samples=deep)) == {"the queue is bounded"}
    dead = [*run.samples[:-1], replace(run.samples[-1], live=0)]
    assert broken(replace(run, samples=dead)) == {"it stays live"}
    growing = [replace(sample, rss_bytes=1e8 + 2e6 * sample.at) for sample in run.samples]
    assert broken(replace(run, samples=growing)) == {"memory does not grow"}
    assert broken(replace(run, samples=run.samples[:3])) == {"memory does not grow"}
    assert broken(run, told={"200": 1}) == {"its metrics count what callers saw"}
    assert broken(run, errors=1) == {"it logs no error"}
    sluggish = [replace(one, ended=one.due + 0.5) if one.phase == "after" else one for one in run.outcomes]
    assert broken(replace(run, outcomes=sluggish)) == {"back to normal at once"}


def test_recovery_counts_from_the_end_of_the_overload(
    overloaded: Callable[..., Any], good: list[Outcome], outcome: Callable[..., Outcome]
) -> None:
    run = overloaded(good)
    assert promises.recovery_seconds(run) == 0
    slow = [replace(one, ended=one.due + 2) if 30 <= one.due < 34 else one for one in run.outcomes]
    assert promises.recovery_seconds(replace(run, outcomes=slow)) == 4
    late = [outcome(29.9, 0.9 + at / 100) for at in range(18)]
    # With those of good that ended later: 27 in all, worked off at 10 - 1 a second.
    ended_later = sum(1 for one in good if one.accepted and one.ended > 30)
    assert promises.backlog_seconds(overloaded([*good, *late])) == pytest.approx((18 + ended_later) / 9)
