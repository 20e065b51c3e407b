"""A real overload of a small model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.loadtest import figures_table, overload

TIMELESS = {
    "every request gets exactly one answer",
    "what is not accepted gets 429 with Retry-After",
    "the queue is bounded",
    "its metrics count what callers saw",
    "it logs no error",
}
"""The promises that hold on a machine of any speed."""


@pytest.mark.slow
def test_overload_is_refused_and_nothing_is_lost(
    command: Callable[..., dict[str, Any]], tmp_path: Path, small: Path
) -> None:
    lengths = ("--seconds", "5", "--calm-seconds", "2", "--capacity-seconds", "2")
    figures = command(overload.main, "--factor", "5", "--callers", "3", "--deadline-ms", "200000", *lengths)
    found = {promise["name"]: promise for promise in figures["promises"]}
    assert {name for name in TIMELESS if not found[name]["holds"]} == set(), found
    during = figures["phases"]["overload"]
    assert during["by_status"].get("429", 0) > 0
    assert set(during["by_status"]) == {"200", "429"}
    assert figures["circumstances"]["served"]["name"] == "tiny"
    table = tmp_path / "results"
    table.mkdir()
    (table / "overload.json").write_text(json.dumps(figures))
    assert f"| overload | overload | {during['sent']} |" in figures_table.markdown(table)
