"""Kill -9 under load: what callers see, and how soon the service is back.

    python -m deploy.loadtest.restart_after_kill --callers 4 --kills 3

A supervisor as small as can be starts `python -m service` again whenever it ends. Callers send one request after
another and send again what got no answer. Prints one JSON object, and writes it where --output says; exits with 1 if a
request was never answered.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import httpx

from deploy.demo import free_port
from deploy.loadtest.report import here, write

PATIENCE_SECONDS = 250.0
"""For everything that is waited for: a busy machine takes long to import PyTorch."""


class Supervisor:
    """Keeps one service process running on a port of its own, with the environment's settings."""

    def __init__(self) -> None:
        self.port = free_port()
        self._stopped = False
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        own = {"ACT_DETR_HOST": "127.0.0.1", "ACT_DETR_PORT": str(self.port), "ACT_DETR_LOG_LEVEL": "error"}
        return subprocess.Popen([sys.executable, "-m", "service"], env=os.environ | own)

    def _watch(self) -> None:
        while not self._stopped:
            self._process.wait()
            if not self._stopped:
                self._process = self._start()

    def kill(self) -> None:
        """End the process as the kernel does that is out of memory: at once, without a word."""
        self._process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End the process for good."""
        self._stopped = True
        self._process.terminate()
        self._process.wait(60)
        self._thread.join(60)


def wait_until_ready(client: httpx.Client) -> float:
    """Return the seconds until /readyz says so. Raises TimeoutError."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return time.monotonic() - started
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the service did not become ready")


class Caller(threading.Thread):
    """Sends one request after another; counts answers by status, and tries that got none by their error."""

    def __init__(self, url: str, image: bytes, ended: threading.Event) -> None:
        super().__init__()
        self.sent = 0
        self.seen: Counter[str] = Counter()
        self.lost = 0
        self._url, self._image, self._ended = url, image, ended

    def run(self) -> None:
        """Go on until told to end; what was sent then is still answered."""
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._ended.is_set():
                self.sent += 1
                self.lost += not self._answered(client)

    def _answered(self, client: httpx.Client) -> bool:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                status = client.post("/detect", content=self._image).status_code
            except httpx.TransportError as error:
                self.seen[type(error).__name__] += 1
            else:
                self.seen[str(status)] += 1
                if status < 500:
                    return True
            time.sleep(0.2)
        return False


def measure(callers: int, kills: int) -> dict[str, Any]:
    """Run it, and return the figures; times are in seconds."""
    image = resources.files("models").joinpath("pretrained", "sample-page.jpg").read_bytes()
    supervisor, ended = Supervisor(), threading.Event()
    url = f"http://127.0.0.1:{supervisor.port}"
    crowd = [Caller(url, image, ended) for _ in range(callers)]
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            first, again = wait_until_ready(client), []
            for caller in crowd:
                caller.start()
            for _ in range(kills):
                time.sleep(1)
                supervisor.kill()
                again.append(wait_until_ready(client))
            time.sleep(1)
    finally:
        ended.set()
        for caller in crowd:
            if caller.ident is not None:
                caller.join()
        supervisor.stop()
    seen = sum((caller.seen for caller in crowd), Counter())
    return {
        "sent": sum(caller.sent for caller in crowd),
        "lost": sum(caller.lost for caller in crowd),
        "tries_by_outcome": dict(sorted(seen.items())),
        "first_ready_s": round(first, 2),
        "ready_again_s": [round(seconds, 2) for seconds in again],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Kill the service under load, and see it come back.")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    facts = here()
    figures = {"callers": options.callers, "kills": options.kills, **measure(options.callers, options.kills)}
    print(json.dumps(figures))
    write(options.output, {"circumstances": facts, **figures})
    raise SystemExit(figures["lost"] > 0)


if __name__ == "__main__":
    main()
