"""The client, and the command that uses it, where the packages that run models and servers are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "torchvision", "fastapi", "starlette", "uvicorn", "prometheus_client", "safetensors", "transformers"}
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
CLIENT = """
from service.client import Client

with Client("http://127.0.0.1:{port}") as client:
    print(client.detect({path!r}, threshold=0).detections[0].label, client.model().labels[0])
"""
COMMAND = """
from service.cli.main import app

app(["detect", {path!r}, "--url", "http://127.0.0.1:{port}", "--output", {path!r} + ".csv"], standalone_mode=False)
print(open({path!r} + ".csv").read().count("page.png"), open({path!r} + ".csv").readline(), end="")
"""


@pytest.mark.parametrize(
    ("program", "printed"), [(CLIENT, "figure text\n"), (COMMAND, "2 file,label,score,xmin,ymin,xmax,ymax\n")]
)
def test_they_work_where_torch_and_fastapi_are_not_installed(
    service: Any, png: bytes, tmp_path: Path, program: str, printed: str
) -> None:
    (tmp_path / "page.png").write_bytes(png)
    whole = HIDE.format(hidden=HEAVY) + program.format(port=service.port, path=str(tmp_path / "page.png"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    result = subprocess.run(
        [sys.executable, "-c", whole],
        env=environment | {"PYTHONPATH": str(ROOT), "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.stdout, result.returncode) == (printed, 0), result.stderr
