from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("busy", [False, True])
def test_promtool_accepts_the_metrics(start: Any, encoded: Callable[..., bytes], busy: bool) -> None:
    with start() as server:
        if busy:
            server.client.post("/detect?attention=act", content=encoded())
            server.client.post("/detect", content=b"junk")
        text = server.client.get("/metrics").content
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert checked.returncode == 0, checked.stderr + checked.stdout
