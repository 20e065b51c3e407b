"""The demonstration that `make demo` runs, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]


def test_demo_shows_every_attention_mode_metrics_and_what_they_cost(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "deploy.demo", "--folder", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for shown in (
        "attention=exact",
        "attention=act",
        "attention=tangent C=16",
        "clusters by layer",
        'act_detr_images_total{attention="act"} 2.0',
        "What attention costs",
        "On this machine pages-large ",
    ):
        assert shown in finished.stdout
    assert "Traceback" not in finished.stderr
    with Image.open(tmp_path / "demo-detections.png") as picture:
        assert picture.size == (816, 1056)
