"""What comparisons cost, as a program with two real services around a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.loadtest.shadows import main


@pytest.mark.slow
def test_both_loads_have_ratios_and_a_calm_service_compares_what_it_answers(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    arguments = ["--seconds", "0.5", "--rounds", "2", "--callers", "2", "--pause", "0.3"]
    main([*arguments, "--image", str(image), "--output", str(output)])
    saturated, calm = json.loads(output.read_text())["rows"]
    assert (saturated["load"], saturated["unit"]) == ("saturated, 2 callers", "images/s")
    assert (calm["load"], calm["unit"]) == ("calm, a pause of 0.3 s", "ms")
    for row in (saturated, calm):
        assert 0 < row["least"] <= row["ratio"] <= row["greatest"]
        assert row["cpu_ratio"] > 0
    assert saturated["compared"] + saturated["compared_after"] > 0
    assert calm["calls"] >= calm["compared"] + calm["compared_after"] >= 2
