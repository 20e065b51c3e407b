"""A service whose ladder the model cannot do: it says why, and ends, so that its supervisor shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_ladder_that_the_model_cannot_do_is_named_and_the_exit_status_is_2() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    settings = {"ACT_DETR_TARGET_MS": "500", "ACT_DETR_LADDER": "size=200", "ACT_DETR_PORT": "0"}
    settings |= {"ACT_DETR_DEVICE": "cpu", "ACT_DETR_THREADS": "1"}
    command = [sys.executable, "-m", "service"]
    done = subprocess.run(command, env=plain | settings, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 2, done.stderr
    assert "bad settings:" in done.stderr
    assert "size=200: pages-small has size 352; 304 to 351 pixels are allowed" in done.stderr
    assert "Traceback" not in done.stderr
