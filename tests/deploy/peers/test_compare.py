"""The comparison as a program, with real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.peers.compare import main


@pytest.mark.slow
def test_the_program_measures_the_service_and_a_peer_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    shape = ["--rounds=1", "--closed-seconds=1.5", "--open-seconds=1.5", "--deadline-s=20"]
    main([*shape, "--quick", "--server=fastapi:2", "--callers", "2", "--loads", "0.5", f"--output={output}"])
    written = json.loads(output.read_text())
    phases = [(row["server"], row.get("callers"), row.get("load")) for row in written["rows"]]
    assert phases == [("ours", 2, None), ("fastapi:2", 2, None), ("ours", None, 0.5), ("fastapi:2", None, 0.5)]
    assert all(set(row["by_status"]) == {"200"} for row in written["rows"])
    assert all(row["cpu_s_per_image"] > 0 and row["peak_mb"] > 100 for row in written["rows"])
    assert written["capacity_per_s"] > 0
    assert written["ratios"]["goodput at 0.5"] is not None
    assert "fastapi" in written["versions"]
    assert "closed loop" in capsys.readouterr().out
