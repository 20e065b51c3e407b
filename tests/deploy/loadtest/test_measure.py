"""The programs that measure, against a real service with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.loadtest import measure, serving


@pytest.mark.slow
@pytest.mark.parametrize("load", [("--callers", "2"), ("--rate", "4")])
def test_measure_counts_every_call(load: tuple[str, str], image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    measure.main([*load, "--seconds", "2", "--image", str(image), "--output", str(output)])
    phase = json.loads(output.read_text())["phases"]["load"]
    assert sum(phase["by_status"].values()) == phase["sent"] > 0
    assert phase["lost"] == 0


@pytest.mark.slow
def test_serving_compares_http_with_the_loop_in_process(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    options = ("--threads", "1", "--callers", "1", "2", "--seconds", "1", "--rounds", "1")
    serving.main([*options, "--image", str(image), "--output", str(output)])
    rows = json.loads(output.read_text())["rows"]
    assert [row["callers"] for row in rows] == [None, 1, 2]
    assert rows[0]["share"] == 1
    assert all(row["images_per_s"] > 0 for row in rows)
