"""Where the deployment's files are, and the tools that check them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def deploy() -> Path:
    """Return the folder of deployments."""
    return Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """Return a function that runs promtool with arguments, and returns what it says; it fails when promtool does."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
