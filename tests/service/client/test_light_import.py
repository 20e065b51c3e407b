"""The client in a process of its own, without the packages that run models and servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "torchvision", "fastapi", "starlette", "uvicorn", "prometheus_client", "safetensors", "transformers"}
PROGRAM = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
from service.client import Client

with Client("http://127.0.0.1:{port}") as client:
    print(client.detect({path!r}, threshold=0).detections[0].label, client.model().labels[0])
"""


def test_the_client_works_where_torch_and_fastapi_are_not_installed(service: Any, png: bytes, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(png)
    program = PROGRAM.format(hidden=HEAVY, port=service.port, path=str(tmp_path / "page.png"))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("figure text\n", 0), result.stderr
