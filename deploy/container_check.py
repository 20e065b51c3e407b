"""Run an image of the service as confined as it is meant to run, and see that it works.

    python -m deploy.container_check act-detr:cpu [--engine docker] [-- more options for `run`]

Read-only root, no capabilities, no new privileges, bounded memory: it must become healthy, detect on the sample page,
show metrics, have no way to write, and on `stop` answer what it has accepted. Prints what was seen; fails at the first
thing that is not so.
"""

# ruff: noqa: S603, S607 - what is run is what the caller of this program names

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "models" / "pretrained" / "sample-page.jpg"
CONFINED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=4g",
    "--tmpfs=/tmp:size=256m",
)
STOP_SECONDS = 45


@dataclass(frozen=True)
class Container:
    """A running container of the service."""

    engine: str
    id: str

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run the engine and return what it printed. With `check`, its failure ends the program."""
        done = subprocess.run([self.engine, *arguments], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"{self.engine} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def inside(self, script: str) -> str:
        """Run a line of shell in the container, and return what it printed, errors included."""
        return self.command("exec", self.id, "sh", "-c", f"{script} 2>&1", check=False)

    def healthy(self) -> bool:
        """Whether the image's own health check passes."""
        if self.engine == "podman":  # without systemd nothing runs the checks but this
            return subprocess.run(["podman", "healthcheck", "run", self.id], capture_output=True).returncode == 0
        return self.command("inspect", "--format", "{{.State.Health.Status}}", self.id) == "healthy"

    def running(self) -> bool:
        """Whether the service's process lives."""
        return self.command("inspect", "--format", "{{.State.Status}}", self.id) in ("running", "stopping")

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to the service's port on this machine."""
        address = self.command("port", self.id, "8000/tcp").splitlines()[0]
        return http.client.HTTPConnection(address, timeout=60)

    def get(self, path: str) -> str:
        """Return the body of an answer that must be a 200."""
        return self._answer("GET", path, None)

    def detect(self, query: str) -> dict[str, Any]:
        """Return the answer to the sample page, which must be a 200."""
        found: dict[str, Any] = json.loads(self._answer("POST", f"/detect?{query}", PAGE.read_bytes()))
        return found

    def _answer(self, method: str, path: str, body: bytes | None) -> str:
        connection = self.connect()
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != http.client.OK:
            expect(False, f"{method} {path}: {response.status} {text[:200]}")
        return text


def expect(holds: bool, what: str) -> None:
    """Print what was seen; end the program when it is not as it must be."""
    print(("ok    " if holds else "FAIL  ") + what, flush=True)
    if not holds:
        raise SystemExit(1)


@contextmanager
def running(engine: str, image: str, options: list[str]) -> Iterator[Container]:
    """Run the image while the block lasts."""
    command = [engine, "run", "--detach", *CONFINED, "--publish=127.0.0.1::8000", *options, image]
    started = subprocess.run(command, capture_output=True, text=True)
    if started.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {started.stderr.strip()}")
    container = Container(engine, started.stdout.strip())
    try:
        yield container
    finally:
        container.command("rm", "--force", "--volumes", container.id, check=False)


def becomes_healthy(container: Container, seconds: float = 300) -> None:
    """Wait until the health check passes."""
    started = time.monotonic()
    while not container.healthy():
        if not container.running() or time.monotonic() - started > seconds:
            subprocess.run([container.engine, "logs", container.id], stdout=sys.stderr)
            expect(False, "becomes healthy")
        time.sleep(0.5)
    expect(True, f"healthy after {time.monotonic() - started:.1f} s")


def detects(container: Container) -> None:
    """Detect on the sample page with both kinds of attention; the metrics have counted it."""
    for query in ("attention=exact", "attention=act&L=16&r=2"):
        answer = container.detect(query)
        labels = [row["label"] for row in answer["detections"]]
        expect(bool(labels), f"POST /detect?{query}: {labels} in {answer['timing_ms']['total']:.0f} ms")
    counted = [line for line in container.get("/metrics").splitlines() if line.startswith("act_detr_images_total{")]
    expect(sum(float(line.split()[-1]) for line in counted) == 2, f"GET /metrics: {'; '.join(counted)}")


def is_confined(container: Container) -> None:
    """Show who the service is in its container, and that it can write to nothing but its volumes."""
    expect("uid=0" not in (who := container.inside("id")), who)
    status = container.inside("grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status").split()
    expect(status[1::2] == ["0" * 16, "0" * 16, "1"], " ".join(status))
    for folder in ("/", "/opt/act-detr", "/opt/venv"):
        said = container.inside(f"touch {folder}/new")
        expect("Read-only file system" in said or "Permission denied" in said, said)
    expect(
        container.inside("touch /var/cache/act-detr/new && echo written") == "written", "the cache can be written to"
    )


def drains(container: Container) -> None:
    """Send half a request, stop the container, send the rest: it is answered, and the service ends with status 0."""
    body = PAGE.read_bytes()
    accepted = container.connect()
    accepted.putrequest("POST", "/detect")
    accepted.putheader("Content-Length", str(len(body)))
    accepted.endheaders(body[: len(body) // 2])
    while "act_detr_inflight_requests 1.0" not in container.get("/metrics"):
        time.sleep(0.05)
    stopping = subprocess.Popen(
        [container.engine, "stop", f"--time={STOP_SECONDS}", container.id], stdout=subprocess.DEVNULL
    )
    time.sleep(2)
    expect(container.running(), "stop waits for the request in flight")
    accepted.send(body[len(body) // 2 :])
    response = accepted.getresponse()
    found = json.loads(response.read())
    expect(
        response.status == http.client.OK, f"it is answered: {response.status}, {len(found['detections'])} detections"
    )
    answered = time.monotonic()
    stopping.wait()
    status = container.command("inspect", "--format", "{{.State.ExitCode}}", container.id)
    expect(status == "0", f"ends {time.monotonic() - answered:.1f} s later with status {status}")


def main() -> None:
    """Check one image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--engine", default="podman", choices=["podman", "docker"])
    parser.add_argument("options", nargs="*", help="more options for `run`, after --")
    arguments = parser.parse_args()
    with running(arguments.engine, arguments.image, arguments.options) as container:
        becomes_healthy(container)
        detects(container)
        is_confined(container)
        drains(container)


if __name__ == "__main__":
    main()
