from __future__ import annotations

import subprocess
import sys

import pytest


def test_openvino_is_imported_without_its_telemetry() -> None:
    """In a process of its own: here, conftest.py has seen to it already."""
    pytest.importorskip("openvino")
    code = "import sys; from models.export.engines import import_openvino; import_openvino()"
    check = "sys.exit(sys.modules['openvino_telemetry'] is not None)"
    assert subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=False).returncode == 0
