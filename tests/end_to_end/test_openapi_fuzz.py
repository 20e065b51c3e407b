"""Requests made from the service's own OpenAPI document, right and wrong: none may surprise it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

EXAMPLES = int(os.environ.get("ACT_DETR_FUZZ_EXAMPLES", "40"))
"""Fuzzed for each operation, at most, besides those that cover its parameters one by one."""
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "504"]
"""
"""A deadline that has passed already is answered 504, as documented."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_operation_conforms_to_the_openapi_document(start: Any, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with start() as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"]
        options = ["--max-examples", str(EXAMPLES), "--seed", "1", "--checks", ",".join(CHECKS), "--no-color"]
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        server.eventually(server.idle)
        assert server.client.get("/readyz").status_code == 200
