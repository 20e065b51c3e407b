"""A process that is killed under a supervisor: callers that send again lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_service_comes_back_and_loses_no_request(checkpoint: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    settings = {"ACT_DETR_MODEL": str(checkpoint), "ACT_DETR_DEVICE": "cpu", "ACT_DETR_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.loadtest.restart_after_kill", "--callers", "2", "--kills", "1"],
        env=plain | settings | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert (results["lost"], len(results["ready_again_s"])) == (0, 1)
    # Before the kill, after it, and in between: a connection that is cut or refused, and no half an answer.
    outcomes = set(results["tries_by_outcome"])
    assert "200" in outcomes
    assert outcomes & {"cut", "refused"}
    assert outcomes <= {"200", "503", "cut", "refused"}
