"""Callers that each send the sample page again and again, and what they got."""

from __future__ import annotations

import collections
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deploy.ray.cluster import HTTP_PORT, PAGE, PATIENCE_SECONDS


@dataclass
class Load:
    """They do not try again. `seconds`: how long each 200 took; `took`: how long all of it lasted."""

    callers: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    took: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the block lasts; then wait for the last answers."""
        self._stop = threading.Event()
        threads = [threading.Thread(target=self._call) for _ in range(self.callers)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self.took = time.monotonic() - started

    @property
    def lost(self) -> int:
        """How many requests got neither a 200 nor a refusal that says when to come back (429)."""
        return self.sent - self.outcomes["200"] - self.outcomes["429"]

    def figures(self) -> dict[str, Any]:
        """Return what was seen; latencies in seconds."""
        ordered = sorted(self.seconds) or [float("nan")]
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return {
            "callers": self.callers,
            "sent": self.sent,
            "answered": dict(self.outcomes),
            "lost": self.lost,
            "answered_per_s": round(self.outcomes["200"] / self.took, 2),
            "p50_s": round(p50, 3),
            "p99_s": round(p99, 3),
        }

    def _call(self) -> None:
        page = PAGE.read_bytes()
        while not self._stop.is_set():
            started = time.monotonic()
            outcome = detect(page)[0]
            self.sent += 1
            self.outcomes[outcome] += 1
            if outcome == "200":
                self.seconds.append(time.monotonic() - started)


def detect(page: bytes) -> tuple[str, bytes]:
    """Return the status of an answer, or the name of the exception in its place, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/detect", page)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, b""
    finally:
        connection.close()
    kind = answer.headers.get_content_type()
    return str(answer.status) + ("" if kind.endswith("json") else f" {kind}"), body
