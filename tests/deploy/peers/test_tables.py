"""How far the service is ahead."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.peers.tables import ratios, show


def row(server: str, rate: float, **phase: float) -> dict[str, Any]:
    figures = {"images_per_s": rate, "goodput_per_s": rate, "in_time": None, "cpu_s_per_image": None, "peak_mb": 1.0}
    return {"server": server, **phase, **figures, "ms": dict.fromkeys(("p50", "p95", "p99")), "by_status": {"200": 3}}


ROWS = [
    row("ours", 10, callers=1),
    row("ray:2", 14, callers=1),
    row("ours", 24, callers=4),
    row("ray:2", 16, callers=4),
    row("ours", 9, load=2.0),
    row("ray:2", 3, load=2.0),
    row("litserve:2", 2, load=2.0),
    row("ours", 9, load=1.0),
    row("ray:2", 0, load=1.0),
]


def test_the_ratio_is_to_the_best_peer_at_its_best() -> None:
    assert ratios(ROWS) == {"throughput": 1.5, "goodput at 1": None, "goodput at 2": 3.0}
    assert ratios(ROWS[:1]) == {"throughput": None}


def test_tables_show_every_server(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, 1.0)
    shown = capsys.readouterr().out
    assert "1.50 times" in shown
    assert "24.00" in shown
    assert "litserve:2" in shown
