"""Run an image of the service as confined as it is meant to run, and see that it works.

    python -m deploy.container_check act-detr:cpu [--engine docker] [-- more options for `run`]

Read-only root, no capabilities, no new privileges, bounded memory: it must become healthy, detect on the sample page
in every attention mode, show metrics, have no way to write, and on `stop` answer what it has accepted. Prints what it
observes; fails at the first thing that is wrong.
"""

# ruff: noqa: S603, S607 - it runs the engine that the command line names

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
from typing import Any

from deploy.expect import expect
from deploy.local_server import SAMPLE_PAGE, wait_until

CONFINED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=4g",
    "--tmpfs=/tmp:size=256m",
)
QUERIES = ("attention=exact", "attention=act&L=16&r=2", "attention=tangent&C=16", "attention=merge")
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
        result: dict[str, Any] = json.loads(self._answer("POST", f"/detect?{query}", SAMPLE_PAGE.read_bytes()))
        return result

    def _answer(self, method: str, path: str, body: bytes | None) -> str:
        connection = self.connect()
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != http.client.OK:
            expect(False, f"{method} {path}: {response.status} {text[:200]}")
        return text


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
    wait_until(lambda: container.healthy() or not container.running(), seconds, pause=0.5)
    healthy = container.healthy()
    if not healthy:
        subprocess.run([container.engine, "logs", container.id], stdout=sys.stderr)
    expect(healthy, f"healthy after {time.monotonic() - started:.1f} s")


def detects(container: Container) -> None:
    """Detect on the sample page in every attention mode; the metrics have counted it."""
    for query in QUERIES:
        result = container.detect(query)
        labels = [row["label"] for row in result["detections"]]
        expect(bool(labels), f"POST /detect?{query}: {labels} in {result['timing_ms']['total']:.0f} ms")
    counts = [line for line in container.get("/metrics").splitlines() if line.startswith("act_detr_images_total{")]
    expect(sum(float(line.split()[-1]) for line in counts) == len(QUERIES), f"GET /metrics: {'; '.join(counts)}")


def is_confined(container: Container) -> None:
    """Show the service's user and rights in its container, and that it can write to nothing but its volumes."""
    user = container.inside("id")
    expect("uid=0" not in user, user)
    status = container.inside("grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status").split()
    expect(status[1::2] == ["0" * 16, "0" * 16, "1"], " ".join(status))
    for folder in ("/", "/opt/act-detr", "/opt/venv"):
        output = container.inside(f"touch {folder}/new")
        expect("Read-only file system" in output or "Permission denied" in output, output)
    expect(
        container.inside("touch /var/cache/act-detr/new && echo written") == "written", "the cache can be written to"
    )


def drains(container: Container) -> None:
    """Send half a request, stop the container, send the rest: it is answered, and the service ends with status 0."""
    body = SAMPLE_PAGE.read_bytes()
    accepted = container.connect()
    accepted.putrequest("POST", "/detect")
    accepted.putheader("Content-Length", str(len(body)))
    accepted.endheaders(body[: len(body) // 2])
    taken = wait_until(lambda: "act_detr_inflight_requests 1.0" in container.get("/metrics"), 60, pause=0.05)
    expect(taken, "half a request is under way")
    stopping = subprocess.Popen(
        [container.engine, "stop", f"--time={STOP_SECONDS}", container.id], stdout=subprocess.DEVNULL
    )
    time.sleep(2)
    expect(container.running(), "stop waits for the request in flight")
    accepted.send(body[len(body) // 2 :])
    response = accepted.getresponse()
    detections = json.loads(response.read())["detections"]
    expect(response.status == http.client.OK, f"it is answered: {response.status}, {len(detections)} detections")
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
