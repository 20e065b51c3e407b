"""`act-detr download` and `act-detr models` with a Hugging Face hub on real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
MODEL = "somebody/pages-detr"
CONFIG = {
    "model_type": "detr",
    "architectures": ["DetrForObjectDetection"],
    "use_timm_backbone": True,
    "backbone": "resnet18",
    "id2label": {"0": "a"},
}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "preprocessor_config.json": b"{}",
    "model.safetensors": bytes(3_000_000),
}


@pytest.mark.slow
def test_a_model_of_the_hub_is_downloaded_and_then_listed(hub: Any, tmp_path: Path) -> None:
    def act_detr(*arguments: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ACT_DETR_", "HF_"))}
        ours = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1,localhost",
            "COLUMNS": "300",
        }
        command = [sys.executable, "-m", "service.cli.main", *arguments]
        return subprocess.run(command, env=plain | ours, cwd=ROOT, capture_output=True, text=True, timeout=240)

    commit = hub.add(MODEL, FILES, ref="v1.0")
    downloaded = act_detr("download", f"{MODEL}@v1.0")
    assert downloaded.returncode == 0, downloaded.stderr
    folder = Path(downloaded.stdout.strip())
    assert folder.name == commit
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert "3.0/3.0 MB" in downloaded.stderr
    listed = act_detr("models")
    assert listed.returncode == 0, listed.stderr
    (row,) = (line for line in listed.stdout.splitlines() if MODEL in line)
    assert f"{MODEL}@v1.0" in row
    assert "3 MB" in row
    assert str(folder) in row
