"""Every check of overload, soak and SIGTERM on made-up outcomes, and short runs of the real service."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from deploy.loadtest import overload, sigterm, soak
from deploy.loadtest.exchange import CUT, EXTRA, REFUSED
from deploy.loadtest.load import Outcome
from deploy.loadtest.watch import Sample

ONE_ANSWER = "every request gets exactly one answer"
REFUSES = "what is not accepted gets 429 with Retry-After"
IN_TIME = "accepted requests keep p99 within the deadline"
Make = Callable[..., Outcome]
Program = Callable[..., dict[str, Any]]


@pytest.fixture
def good(outcome: Make) -> list[Outcome]:
    """An overload in which every check holds."""
    return [
        *(outcome(10 + at / 10, 0.9) for at in range(200)),
        *(outcome(10 + at / 10, 0.01, 429, retry_after=1.0) for at in range(200)),
    ]


@pytest.fixture
def overloaded(outcome: Make) -> Callable[[Sequence[Outcome]], overload.Overload]:
    """Return a function that makes a run of 10 s of calm, 20 of overload, 20 of calm at a capacity of 10."""
    samples = [Sample(at + 0.5, 200, 0.01, 1e8, 5, 10) for at in range(50)]
    calm = [outcome(at, 0.1, phase="before") for at in range(10)]
    after = [outcome(30 + at, 0.1, phase="after") for at in range(20)]
    seconds = {"before": 10.0, "overload": 20.0, "after": 20.0}

    def make(outcomes: Sequence[Outcome]) -> overload.Overload:
        return overload.Overload([*calm, *outcomes, *after], samples, None, 0, 10, seconds, 8, 16)

    return make


def failed(run: Any) -> set[str]:
    checks = overload if isinstance(run, overload.Overload) else soak
    return {check.name for check in checks.run_checks(run) if not check.holds}


def test_overload_without_fault_passes(overloaded: Callable[..., Any], good: list[Outcome]) -> None:
    run = overloaded(good)
    assert failed(run) == set()
    assert failed(replace(run, server_counts={"200": 230, "429": 200})) == set()


@pytest.mark.parametrize(
    ("added", "name"),
    [
        ({"status": 0, "failure": CUT}, ONE_ANSWER),
        ({"failure": EXTRA}, ONE_ANSWER),
        ({"status": 504}, REFUSES),
        ({"status": 429}, REFUSES),
    ],
)
def test_overload_fails_for_one_bad_answer(
    overloaded: Callable[..., Any], good: list[Outcome], outcome: Make, added: dict[str, Any], name: str
) -> None:
    assert failed(overloaded([*good, outcome(15, 0.1, **added)])) == {name}


def test_overload_names_what_fails(overloaded: Callable[..., Any], good: list[Outcome]) -> None:
    slow = [replace(one, ended=one.due + 1.1) if one.accepted else one for one in good]
    assert failed(overloaded(slow)) == {IN_TIME}
    assert IN_TIME in failed(overloaded([]))
    wrong = [one if one.accepted else replace(one, retry_after=30.0) for one in good]
    assert failed(overloaded(wrong)) == {"Retry-After is right on average"}
    run = overloaded(good)
    deep = [replace(sample, queue_depth=9) for sample in run.samples]
    assert failed(replace(run, samples=deep)) == {"the queue is bounded"}
    dead = [*run.samples[:-1], Sample(49.5, 0, 12)]
    assert failed(replace(run, samples=dead)) == {"it stays live"}
    growing = [replace(sample, rss_bytes=1e8 + 2e6 * sample.at) for sample in run.samples]
    assert failed(replace(run, samples=growing)) == {"memory does not grow"}
    assert failed(replace(run, samples=run.samples[:3])) == {"memory does not grow"}
    assert failed(replace(run, server_counts={"200": 1})) == {"its metrics count what callers got"}
    assert failed(replace(run, errors_logged=1)) == {"it logs no error"}
    sluggish = [replace(one, ended=one.due + 0.5) if one.phase == "after" else one for one in run.outcomes]
    assert failed(replace(run, outcomes=sluggish)) == {"back to normal at once"}


def test_recovery_counts_from_the_end_of_the_overload(
    overloaded: Callable[..., Any], good: list[Outcome], outcome: Make
) -> None:
    run = overloaded(good)
    assert overload.recovery_seconds(run) == 0
    slow = [replace(one, ended=one.due + 2) if 30 <= one.due < 34 else one for one in run.outcomes]
    assert overload.recovery_seconds(replace(run, outcomes=slow)) == 4
    late = [outcome(29.9, 0.9 + at / 100) for at in range(18)]
    left = 18 + sum(one.accepted and one.ended > 30 for one in good)
    assert overload.backlog_seconds(overloaded([*good, *late])) == pytest.approx(left / 9)  # at 10 - 1 a second


@pytest.fixture
def flat(outcome: Make) -> soak.Soak:
    """Twenty minutes of a call every other second: memory that fills in the warm-up and stays, latency with noise."""
    rng = random.Random(0)
    outcomes = [outcome(2.0 * at, 0.1 + rng.random() / 10, deadline_ms=30_000) for at in range(600)]
    sizes = [4e8 + 1e6 * min(at, 190) + 1e6 * rng.random() for at in range(0, 1200, 4)]
    samples = [Sample(4.0 * at, 200, 0.01, size, 0, 1) for at, size in enumerate(sizes)]
    return soak.Soak(outcomes, samples, {"200": 600}, 0, 1200.0)


def test_soak_without_fault_passes(flat: soak.Soak) -> None:
    assert failed(flat) == set()


def test_soak_finds_a_leak(flat: soak.Soak) -> None:
    leaking = [replace(one, rss_bytes=one.rss_bytes + 6e4 * one.at) for one in flat.samples]  # 60 MB of 600 in all
    assert failed(replace(flat, samples=leaking)) == {"memory is flat"}
    little = [replace(one, rss_bytes=one.rss_bytes + 1e4 * one.at) for one in flat.samples]
    assert failed(replace(flat, samples=little)) == set()


def test_soak_finds_growing_latency_and_ignores_the_warm_up(flat: soak.Soak) -> None:
    slowing = [replace(one, ended=one.ended + 5e-5 * one.due) for one in flat.outcomes]  # 50 ms of 150 at the end
    assert failed(replace(flat, outcomes=slowing)) == {"latency is flat"}
    cold = [replace(one, ended=one.ended + max(0.0, 150 - one.due)) for one in flat.outcomes]
    assert failed(replace(flat, outcomes=cold)) == set()


@pytest.mark.parametrize(
    ("added", "name"),
    [
        ({"status": 0, "failure": CUT}, ONE_ANSWER),
        ({"status": 0, "failure": REFUSED}, ONE_ANSWER),
        ({"status": 500}, "no request fails"),
        ({"status": 504}, "no request fails"),
    ],
)
def test_soak_fails_for_one_bad_answer(flat: soak.Soak, outcome: Make, added: dict[str, Any], name: str) -> None:
    run = replace(flat, outcomes=[*flat.outcomes, outcome(700, 0.1, **added)], server_counts=None)
    assert failed(run) == {name}


def test_soak_names_what_fails(flat: soak.Soak) -> None:
    assert failed(replace(flat, server_counts={"200": 599})) == {"its metrics count what callers got"}
    assert failed(replace(flat, errors_logged=1)) == {"it logs no error"}
    assert failed(replace(flat, samples=flat.samples[:60])) == {"memory is flat"}
    assert failed(replace(flat, samples=[])) == {"memory is flat", "it stays live"}
    few = replace(flat, outcomes=flat.outcomes[:110], server_counts={"200": 110})
    assert failed(few) == {"latency is flat"}


def stopped(*outcomes: Outcome, status: int = 0, ended: float = 20.0) -> set[str]:
    """Return the checks that fail of a stop with the signal at 10 s. Accepted: outcomes with an id."""
    accepted = frozenset(one.request_id for one in outcomes if one.request_id)
    stop = sigterm.Stop(outcomes, 10.0, ended, status, 30.0, accepted)
    return {check.name for check in sigterm.run_checks(stop) if not check.holds}


def test_sigterm_names_what_fails(outcome: Make) -> None:
    waiting = outcome(9, 2, request_id="accepted")
    drained = outcome(11, 0.1, 503)
    closed = outcome(15, 0, 0, failure=REFUSED)
    assert stopped(waiting, drained, outcome(14.8, 0.2, 0, failure=CUT), closed) == set()
    accepted = "accepted requests are answered"
    sent = "requests sent before the signal are answered, if only with 503"
    later = "later requests are refused cleanly"
    assert stopped(outcome(9, 2, 0, failure=CUT, request_id="too"), waiting) == {accepted, sent}
    assert stopped(outcome(9, 2, 0, failure=CUT), waiting) == {sent}
    assert stopped(drained) == {accepted}
    assert stopped(waiting, outcome(9, 2, 504)) == {sent}
    assert stopped(waiting, outcome(11, 0.1)) == {later}
    assert stopped(waiting, outcome(12, 0.1, 0, failure=CUT), closed) == {later}
    assert stopped(waiting, status=-15) == {"it ends with status 0"}
    assert stopped(waiting, ended=51.0) == {"it ends in time"}


@pytest.mark.slow
def test_overload_of_a_real_service_loses_nothing(program: Program) -> None:
    lengths = ("--seconds", "5", "--calm-seconds", "2", "--callers", "3")
    results = program(overload.main, "--factor", "5", "--deadline-ms", "200000", *lengths)
    on_any_machine = {ONE_ANSWER, REFUSES, "the queue is bounded", "its metrics count what callers got"}
    assert results["failed"].isdisjoint(on_any_machine | {"it logs no error"}), results
    assert set(results["phases"]["overload"]["by_status"]) == {"200", "429"}
    assert results["environment"]["served"]["name"] == "tiny"


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing(program: Program) -> None:
    results = program(sigterm.main, "--seconds", "4", "--callers", "3")
    assert "accepted requests are answered" not in results["failed"]
    assert results["exit_status"] == 0


@pytest.mark.slow
def test_soak_of_a_real_service_loses_nothing(program: Program) -> None:
    results = program(soak.main, "--seconds", "6", "--callers", "2")
    assert results["failed"] <= {"memory is flat", "latency is flat", "it stays live"}, results
    assert len(results["checks"]) == 7
    assert results["phases"]["soak"]["lost"] == 0
    memory = results["trends"]["rss_bytes"]
    assert memory["mean"] > 1e7
    assert memory["low"] <= memory["growth"] <= memory["high"]
