"""Rates, goodput, percentiles and CPU time by hand."""

from __future__ import annotations

from dataclasses import replace

from deploy.loadtest.load import Outcome
from deploy.peers.measurement import Part, figures

ONE = Outcome("open", 0.0, 0.0, 0.0, 200, "", None, 1000.0, 0)


def outcome(due: float, latency: float, status: int = 200) -> Outcome:
    return replace(ONE, due=due, sent=due, ended=due + latency, status=status)


FIRST = Part(10.0, tuple(outcome(at / 10, 0.5) for at in range(50)), 4.0, 300_000_000)
SECOND = Part(
    5.0, (*(outcome(at / 10, 2.0) for at in range(40)), *(outcome(0.1, 0.01, 429) for _ in range(10))), 2.0, 900_000_000
)


def test_images_a_second_count_to_the_end_of_the_phase() -> None:
    assert FIRST.images_per_s == 5.0
    assert SECOND.images_per_s == 31 / 5  # those that were due by 3.0 s


def test_figures_by_hand() -> None:
    found = figures([FIRST, SECOND], 1.0)
    assert (found["seconds"], found["calls"]) == (15.0, 100)
    assert found["images_per_s"] == round((50 + 31) / 15, 3)
    assert found["images_per_s_by_round"] == [5.0, 6.2]
    assert found["goodput_per_s"] == round(50 / 15, 3)
    assert found["in_time"] == 0.5
    assert found["by_status"] == {"200": 90, "429": 10}
    assert (found["ms"]["p50"], found["ms"]["p95"], found["ms"]["p99"]) == (500, 2000, 2000)
    assert found["cpu_s_per_image"] == round(6 / 90, 4)
    assert found["peak_mb"] == 900


def test_a_server_that_answers_nothing_has_no_latency_and_no_cost_an_image() -> None:
    found = figures([Part(2.0, (outcome(0.0, 0.1, 503),), 1.0, 0)], 1.0)
    assert (found["images_per_s"], found["goodput_per_s"], found["in_time"]) == (0, 0, 0)
    assert found["cpu_s_per_image"] is found["ms"]["p99"] is None
    assert figures([Part(2.0, (), 0.0, 0)], 1.0)["in_time"] is None
