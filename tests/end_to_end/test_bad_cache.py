"""A service whose checkpoint is damaged: it says which file, and ends, so that its supervisor shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_damaged_cached_file_is_named_and_the_exit_status_is_1(tmp_path: Path) -> None:
    damaged = tmp_path / "detr-r50-e632da11.pth"
    damaged.write_bytes(b"PK\x03\x04 not a checkpoint")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    settings = {"ACT_DETR_MODEL": "detr-r50", "ACT_DETR_CACHE_DIR": str(tmp_path), "ACT_DETR_PORT": "0"}
    settings |= {"ACT_DETR_DEVICE": "cpu", "ACT_DETR_THREADS": "1"}
    command = [sys.executable, "-m", "service"]
    done = subprocess.run(command, env=plain | settings, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 1, done.stderr
    (line,) = (json.loads(line) for line in done.stderr.splitlines() if "cannot load" in line)
    assert line["level"] == "error"
    assert str(damaged) in line["message"]
    assert "Traceback" not in done.stderr
