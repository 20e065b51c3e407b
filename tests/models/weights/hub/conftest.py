"""A client of the hub, and a small model to publish there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]


class Client:
    """Runs jobs of `client_program.py`, each in a process that knows a hub and a cache by environment variables."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("client_program.py"))],
            env=plain | {"PYTHONPATH": path, "NO_PROXY": "127.0.0.1,localhost", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        """Run the jobs at the same time and return their results."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        results: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return results

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def client_process() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


class User:
    """Somebody with a cache of their own who asks one hub."""

    def __init__(self, client: Client, endpoint: str, home: Path) -> None:
        self._client = client
        self.home = home
        self.environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}

    def job(self, do: str, model: str = "", **more: Any) -> dict[str, Any]:
        environment = self.environment | more.pop("environment", {})
        return {"do": do, "model": model, "environment": environment} | more

    def __call__(self, do: str, model: str = "", **more: Any) -> dict[str, Any]:
        (result,) = self._client.run(self.job(do, model, **more))
        assert result.get("error") != "unexpected", result["message"]
        return result

    def at_once(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        return self._client.run(*jobs)

    def files(self) -> set[str]:
        """The names of the files in all snapshots."""
        return {path.name for path in self.home.glob("hub/models--*/snapshots/*/*")}

    def contents(self) -> list[Path]:
        """The contents of files in the cache, whether or not a snapshot has them."""
        return list(self.home.glob("hub/models--*/blobs/*"))


@pytest.fixture
def user(client_process: Client, hub: Any, tmp_path: Path) -> User:
    return User(client_process, hub.endpoint, tmp_path / "home")
