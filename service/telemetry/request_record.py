"""What is known of one request: filled on its way, read by the log, the metrics and the answer's headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from service.telemetry.metrics import NO_ATTENTION

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

now = time.monotonic
"""The one clock of the service, in seconds: arrivals, deadlines, stages and totals all come from it."""


class Stopwatch:
    """How long one image spent in each stage, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside, unless it fails."""
        started = now()
        yield
        self.seconds[name] = now() - started


@dataclass(slots=True)
class RequestRecord:
    """One request. `started` is on the service's clock; `stages` are seconds."""

    request_id: str
    started: float = field(default_factory=now)
    attention: str = NO_ATTENTION
    stages: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    image: tuple[int, int] | None = None
    images: int = 0
    batch_size: int | None = None
    detections: int | None = None
    error: str | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the request's headers were read."""
        return now() - self.started

    def add_stages(self, seconds: Mapping[str, float]) -> None:
        """Take over an image's stages; of several images the slowest counts."""
        for name, value in seconds.items():
            self.stages[name] = max(value, self.stages.get(name, 0.0))

    def server_timing(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        stages = [*self.stages.items(), ("total", self.elapsed)]
        return ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in stages)


def request_id(wished: str | None) -> str:
    """Return the caller's own id where it is short and plain, else a new one."""
    return wished if wished is not None and _SANE_ID.fullmatch(wished) else uuid.uuid4().hex
