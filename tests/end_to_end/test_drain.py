"""A real process: it starts, logs where it listens, and on SIGTERM answers accepted requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest


@pytest.fixture
def process(checkpoint: Path) -> Iterator[subprocess.Popen[str]]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    settings = {
        "ACT_DETR_MODEL": str(checkpoint),
        "ACT_DETR_DEVICE": "cpu",
        "ACT_DETR_PORT": "0",
        "ACT_DETR_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "service"],
        env=plain | settings,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        yield running
        if running.poll() is None:
            running.kill()


def address(process: subprocess.Popen[str]) -> str:
    """Read the log up to the line with the address."""
    assert process.stderr is not None
    for line in process.stderr:
        message = str(json.loads(line)["message"])
        if message.startswith("listening on "):
            return message.removeprefix("listening on ")
    raise AssertionError("the process ended without listening")


def when_ready(client: httpx.Client) -> None:
    end = time.monotonic() + 60
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_requests_accepted_before_sigterm_are_answered(process: Any, encoded: Callable[..., bytes]) -> None:
    image = encoded()
    url = address(process)
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        when_ready(client)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as accepted:
            head = f"POST /detect?threshold=0 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(image)}\r\n\r\n"
            accepted.sendall(head.encode() + image[:50])
            end = time.monotonic() + 10
            while "act_detr_inflight_requests 1.0" not in client.get("/metrics").text:
                assert time.monotonic() < end
            process.send_signal(signal.SIGTERM)
            while client.get("/readyz").status_code != 503:
                assert time.monotonic() < end
            refused = client.post("/detect", content=image)
            assert (refused.status_code, refused.json()["type"]) == (503, "draining")
            accepted.sendall(image[50:])
            answer = accepted.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in process.stderr]
    assert [line["status"] for line in lines if line["message"] == "request"][-1] == 200


def test_sigterm_during_loading_ends_the_process(process: Any) -> None:
    """In a container it is the first process, and the kernel ignores signals for that one that it does not handle."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    bit = 1 << (signal.SIGTERM - 1)
    end = time.monotonic() + 60
    while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) & bit:
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
