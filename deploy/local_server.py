"""The service as a local process: on a free port, with the settings of the environment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

ROOT: Final = Path(__file__).parents[1]
SAMPLE_PAGE: Final = ROOT / "models" / "pretrained" / "sample-page.jpg"
READY_SECONDS: Final = 250.0
"""How long a start may take: a busy machine takes long to import PyTorch."""


class LocalServer:
    """A process of `python -m service`; `settings` (`LOG_LEVEL="error"`) override those of the environment.

    With `log`, a file takes what it writes to standard error. `root` is the checkout whose code runs, `variables`
    are others of its environment. A context manager: leaving it ends the process.
    """

    def __init__(
        self,
        log: Path | None = None,
        root: Path = ROOT,
        variables: Mapping[str, str] = MappingProxyType({}),
        **settings: str,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings |= {"HOST": "127.0.0.1", "PORT": str(self.port)}
        named = {f"ACT_DETR_{name}": value for name, value in settings.items()}
        self._environment = os.environ | dict(variables) | named
        self._log = log
        self._root = root
        self.start()

    def start(self) -> None:
        """Start the process, on the same port each time."""
        command = [sys.executable, "-m", "service"]
        log = None if self._log is None else self._log.open("ab")
        self.process = subprocess.Popen(command, env=self._environment, cwd=self._root, stderr=log)  # noqa: S603 - ours
        if log is not None:
            log.close()

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 60) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> float:
        """Return the seconds until /readyz answered 200. Raises SystemExit if the process ends or takes longer."""
        ready = wait_until_ready(self.url, seconds, lambda: self.process.poll() is None)
        if ready is None:
            log = "" if self._log is None else f"; its log ends:\n{self._log.read_text(errors='replace')[-4000:]}"
            raise SystemExit(f"the service did not become ready{log}")
        return ready

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of a JSON log; one that is not the service's has the level `unreadable`."""
        text = "" if self._log is None else self._log.read_text(errors="replace")
        return [_parse(line) for line in text.splitlines()]


def wait_until_ready(url: str, seconds: float, alive: Callable[[], bool] = lambda: True) -> float | None:
    """Return the seconds until /readyz answered 200; None if it does not in time, or `alive` ends."""
    started = time.monotonic()
    with httpx.Client(base_url=url, timeout=15, trust_env=False) as client:
        wait_until(lambda: _is_ready(client) or not alive(), seconds, pause=0.05)
        return time.monotonic() - started if _is_ready(client) else None


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.2) -> bool:
    """Wait until a condition holds, `seconds` at most; return whether it does."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(pause)
    return holds


def free_port() -> int:
    """Return a TCP port that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _parse(line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) and "level" in parsed else {"level": "unreadable"}
