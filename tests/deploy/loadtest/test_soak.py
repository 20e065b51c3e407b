"""A soak is judged on made-up series, flat and growing, and a short one is run against a real service."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.loadtest import figures_table, soak
from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import CUT, REFUSED
from deploy.loadtest.traffic import Call
from deploy.loadtest.watch import Sample

SECONDS = 1200.0
TOLD = {"200": 600}


@pytest.fixture
def flat(outcome: Callable[..., Outcome]) -> soak.Soak:
    """Twenty minutes of a call every other second: memory that fills in the warm-up and stays, latency with noise."""
    rng = random.Random(0)
    outcomes = [
        outcome(2.0 * at, 0.1 + rng.random() / 10, phase="warm-up" if at < 100 else "soak", deadline_ms=30_000)
        for at in range(600)
    ]
    sizes = [4e8 + 1e6 * min(at, 190) + 1e6 * rng.random() for at in range(0, 1200, 4)]
    samples = [Sample(4.0 * at, size, at, 0, 1, 0.01, 200, 0.01) for at, size in enumerate(sizes)]
    return soak.Soak(2.0, SECONDS, outcomes, samples)


def broken(run: soak.Soak, told: dict[str, int] | None = None, errors: int | None = 0) -> set[str]:
    return {promise.name for promise in soak.judge(run, told, errors) if not promise.holds}


def test_a_flat_run_breaks_no_promise(flat: soak.Soak) -> None:
    assert broken(flat, TOLD) == set()


def test_a_leak_is_found(flat: soak.Soak) -> None:
    leaking = [replace(one, rss_bytes=one.rss_bytes + 6e4 * one.at) for one in flat.samples]  # 60 MB of 600 in all
    assert broken(replace(flat, samples=leaking)) == {"memory is flat"}
    little = [replace(one, rss_bytes=one.rss_bytes + 1e4 * one.at) for one in flat.samples]
    assert broken(replace(flat, samples=little)) == set()


def test_calls_that_take_longer_and_longer_are_found(flat: soak.Soak) -> None:
    slowing = [replace(one, ended=one.ended + 5e-5 * one.due) for one in flat.outcomes]  # 50 ms of 150 at the end
    assert broken(replace(flat, outcomes=slowing)) == {"latency is flat"}


def test_what_happens_in_the_warm_up_is_not_a_trend(flat: soak.Soak) -> None:
    cold = [replace(one, ended=one.ended + max(0.0, 150 - one.due)) for one in flat.outcomes]
    assert broken(replace(flat, outcomes=cold)) == set()


@pytest.mark.parametrize(
    ("added", "name"),
    [
        ({"status": 0, "failure": CUT}, "every request gets exactly one answer"),
        ({"status": 0, "failure": REFUSED}, "every request gets exactly one answer"),
        ({"status": 500}, "no request fails"),
        ({"status": 504}, "no request fails"),
    ],
)
def test_one_bad_answer_breaks_a_promise(
    flat: soak.Soak, outcome: Callable[..., Outcome], added: dict[str, Any], name: str
) -> None:
    run = replace(flat, outcomes=[*flat.outcomes, outcome(700, 0.1, phase="soak", **added)])
    assert broken(run) == {name}


def test_what_breaks_the_other_promises(flat: soak.Soak) -> None:
    assert broken(flat, {"200": 599}) == {"its metrics count what callers saw"}
    assert broken(flat, errors=1) == {"it logs no error"}
    assert broken(replace(flat, samples=flat.samples[:60])) == {"memory is flat"}
    assert broken(replace(flat, samples=[])) == {"memory is flat", "it stays live"}
    assert broken(replace(flat, outcomes=flat.outcomes[:110])) == {"latency is flat"}


def test_progress_is_told_once_a_while(capsys: pytest.CaptureFixture[str], outcome: Callable[..., Outcome]) -> None:
    progress = soak.Progress(100, every=10)
    call = Call("soak", 0, "/detect", b"", 1000.0, chosen=True)
    assert progress.ended(call, outcome(0, 0.2)) is None
    assert progress.ended(call, outcome(0, 0.01, 429, retry_after=3.0)) == 3
    for at in (1.0, 11.0, 12.0, 21.0):
        progress.sampled(Sample(at, 5e8, 0, 0, 0, 0.01, 200, 0.01))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "11 of 100 s: 200: 1  429: 1; p99 200 ms of late; 500 MB"
    assert second == "21 of 100 s: 200: 1  429: 1; none accepted of late; 500 MB"


@pytest.mark.slow
def test_a_short_soak_of_a_real_service(command: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    figures = command(soak.main, "--seconds", "6", "--capacity-seconds", "2", "--callers", "2")
    found = {promise["name"]: promise for promise in figures["promises"]}
    timeless = {name for name in found if "is flat" not in name and name != "it stays live"}
    assert len(timeless) == 4
    assert {name for name in timeless if not found[name]["holds"]} == set(), found
    phase = figures["phases"]["soak"]
    assert set(phase["by_status"]) <= {"200", "429"}
    assert phase["lost"] == 0
    assert figures["rss_bytes"]["start"] > 1e7
    assert figures["trends"]["rss_bytes"]["line"]["low"] <= figures["trends"]["rss_bytes"]["line"]["high"]
    results = tmp_path / "results"
    results.mkdir()
    (results / "soak.json").write_text(json.dumps(figures))
    assert f"| soak | soak | {phase['sent']} |" in figures_table.markdown(results)
    assert "memory is flat" in figures_table.markdown(results)
