"""The program that measures the ladder: what its checks say, and a short run against real services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from deploy.loadtest import ladder
from deploy.loadtest.load import Outcome

Make = Callable[..., Outcome]


def test_a_summary_counts_what_is_in_time_among_all_that_was_sent(outcome: Make) -> None:
    outcomes = [outcome(0, 0.5), outcome(1, 1.5), outcome(2, 0.1, 429), outcome(3, 0.9)]
    phase = ladder.summary(outcomes, Counter({"0": 1, "1": 3}), 10.0, target_s=1.0)
    assert (phase["in_time"], phase["goodput"], phase["goodput_per_s"]) == (2, 0.5, 0.2)
    assert phase["rungs"] == {"0": 0.25, "1": 0.75}
    assert ladder.summary(outcomes, Counter(), 10.0, 1.0)["rungs"] == {}


@pytest.mark.parametrize(
    ("shares", "lost", "failed"),
    [
        ((0.4, 0.6, 0.7), (0, 0, 0), set()),
        ((0.4, 0.7, 0.7), (0, 0, 0), {"more is answered within the target"}),
        ((0.4, 0.6, 0.7), (0, 0, 1), {"every request gets exactly one answer"}),
    ],
)
def test_checks_name_what_fails(shares: tuple[float, ...], lost: tuple[int, ...], failed: set[str]) -> None:
    names = (ladder.WITHOUT, ladder.SHORT, ladder.WITH)
    phases = {name: {"goodput": share, "lost": count} for name, share, count in zip(names, shares, lost, strict=True)}
    assert {check.name for check in ladder.run_checks(phases) if not check.holds} == failed


@pytest.mark.slow
def test_all_services_get_the_same_calls(
    program: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACT_DETR_LADDER", "size=48;size=48,tangent:C=2")
    results = program(ladder.main, "--seconds", "2", "--callers", "2", "--target-ms", "20000")
    assert results["ladder"]["rungs"] == ["size=48", "size=48,tangent:C=2"]
    sent = {name: phase["sent"] for name, phase in results["phases"].items()}
    assert sent.keys() == set(ladder.DEADLINES)
    assert len(set(sent.values())) == 1
    assert results["phases"][ladder.WITHOUT]["rungs"] == {}
    assert "every request gets exactly one answer" not in results["failed"]
