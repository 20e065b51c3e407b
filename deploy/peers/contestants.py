"""The servers of a comparison: how each is started and stopped, and whether it is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from deploy.loadtest.exchange import Target
from deploy.loadtest.process_tree import stop_tree
from deploy.local_server import READY_SECONDS, ROOT, LocalServer, free_port, wait_until_ready
from deploy.peers.settings import PeerSettings

OURS: Final = "ours"
INSTALL: Final = "pip install '.[bench]'"
_COMMANDS: Final = {
    "fastapi": ("-m", "deploy.peers.fastapi_server"),
    "litserve": ("-m", "deploy.peers.litserve_server"),
    "bentoml": ("-m", "bentoml", "serve", "deploy.peers.bentoml_server:PageDetector", "--host", "127.0.0.1"),
    "ray": ("-m", "deploy.peers.ray_server"),
}
NAMES: Final = (OURS, *_COMMANDS)
_IMAGE_HEADERS: Final = (("content-type", "image/jpeg"),)
"""BentoML takes a body as it is only if its type is not JSON's; what the image really is, all servers find out."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server, and how many workers share its CPU threads; the service has always one."""

    name: str
    workers: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name` or `name:workers`. Raises ValueError for an unknown name, or workers that cannot be."""
        name, _, workers = text.partition(":")
        if name not in NAMES:
            raise ValueError(f"{name} is not one of {', '.join(NAMES)}")
        if workers and (name == OURS or not workers.isdigit() or int(workers) < 1):
            raise ValueError(f"{name} cannot have {workers} workers")
        return cls(name, int(workers or 1))

    @property
    def is_installed(self) -> bool:
        """Whether its library is there."""
        return self.name == OURS or importlib.util.find_spec(self.name) is not None

    def __str__(self) -> str:
        return self.name if self.name == OURS else f"{self.name}:{self.workers}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What all servers have in common: CPU threads in all, the deadline in seconds, the requests that peers take."""

    threads: int
    deadline_s: float
    max_inflight: int


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: its address, the process above all of its processes, and the seconds until ready."""

    target: Target
    pid: int
    ready_s: float


@contextmanager
def running(contestant: Contestant, limits: Limits) -> Iterator[Running]:
    """Run a server while the block lasts. Raises SystemExit if it does not become ready."""
    if contestant.name == OURS:
        with LocalServer(THREADS=str(limits.threads), DEVICE="cpu", LOG_LEVEL="error") as server:
            ready = server.wait_until_ready()
            yield Running(Target.of(server.url), server.process.pid, ready)
            server.stop()
    else:
        with tempfile.TemporaryDirectory(prefix="peer-") as folder:
            yield from _running_peer(contestant, limits, Path(folder, "log"))


def _running_peer(contestant: Contestant, limits: Limits, log: Path) -> Iterator[Running]:
    settings = PeerSettings(
        port=free_port(),
        threads=limits.threads,
        workers=contestant.workers,
        timeout_s=limits.deadline_s,
        max_inflight=limits.max_inflight,
    )
    command = [sys.executable, *_COMMANDS[contestant.name]]
    if contestant.name == "bentoml":
        command += ["--port", str(settings.port)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - ours
            command, env=_environment(settings), cwd=ROOT, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{settings.port}"
        ready = wait_until_ready(url, READY_SECONDS, lambda: process.poll() is None)
        if ready is None:
            raise SystemExit(
                f"{contestant} did not become ready; its log ends:\n{log.read_text(errors='replace')[-4000:]}"
            )
        yield Running(Target("127.0.0.1", settings.port, _IMAGE_HEADERS), process.pid, ready)
    finally:
        stop_tree(process.pid)
        process.wait()


def _environment(settings: PeerSettings) -> dict[str, str]:
    """Return the environment of a peer: without a proxy, and without reports of its use to its makers."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    return plain | quiet | settings.environment()
