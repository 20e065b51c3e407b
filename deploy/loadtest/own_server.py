"""A service of the run's own, as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.demo import free_port
from deploy.loadtest.exchange import Target, exchange, now

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 180.0


class OwnServer:
    """`python -m service` with the settings of the environment and those given; its log goes to a file.

    A context manager: leaving it kills what is left of the process.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.target = Target("127.0.0.1", self.port)
        own = {"ACT_DETR_HOST": "127.0.0.1", "ACT_DETR_PORT": str(self.port)}
        own |= {"ACT_DETR_LOG_FORMAT": "json", "ACT_DETR_LOG_LEVEL": "info"}
        environment = os.environ | dict(settings or {}) | own
        self._folder = tempfile.TemporaryDirectory(prefix="act-detr-loadtest-")
        self._log = Path(self._folder.name) / "service.log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "service"]
            self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=log)  # noqa: S603 - ours

    def __enter__(self) -> OwnServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    async def ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until /readyz says 200; return the time on the clock `now`. Raises SystemExit when it never comes."""
        end = now() + seconds
        while (await exchange(self.target, "GET", "/readyz", patience=15)).status != 200:
            if now() > end or self.process.poll() is not None:
                raise SystemExit(f"the service did not become ready; its log ends:\n{self.log_tail()}")
            await asyncio.sleep(0.05)
        return now()

    async def ended(self, seconds: float = 120.0) -> tuple[int, float]:
        """Wait until the process ends; return its exit status and the time. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (status := self.process.poll()) is None:
                await asyncio.sleep(0.02)
        return status, now()

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log; one that is not the service's JSON has the level `unreadable`."""
        return [_parsed(line) for line in self._log.read_text(errors="replace").splitlines()]

    def log_levels(self) -> Counter[str]:
        """Return how many lines of each level the service has logged."""
        return Counter(str(line["level"]) for line in self.log())

    def errors_logged(self) -> int:
        """Return how many lines tell of an error, or are not the service's."""
        levels = self.log_levels()
        return sum(levels[name] for name in ("error", "critical", "unreadable"))

    def taken(self) -> set[str]:
        """Return the ids of the requests that were let in: logged, and not with a refusal."""
        return {str(line["request_id"]) for line in self.log() if line.get("status") not in (None, 429, 503)}

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "level" in found else {"level": "unreadable", "message": line}
