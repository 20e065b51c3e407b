"""The record of one request: filled while it is served, read by the log, the metrics and the response's headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from models.detections import Detections, Prediction
from models.masks.forms import Segmentation
from models.tiles.tiling import Tiling

NO_ATTENTION: Final = "none"
"""Attention mode of requests that end before their mode is known."""
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

now = time.monotonic
"""The service's one clock, in seconds: arrivals, deadlines, stages and totals are all measured with it."""


class Stopwatch:
    """Seconds by stage, and when each began, on the service's clock.

    `failed` has name and seconds of the stage that ended by an exception; it is not among `seconds`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begun: dict[str, float] = {}
        self.failed: tuple[str, float] | None = None

    def copy(self) -> Stopwatch:
        """Return one that has run as long so far, and goes on by itself."""
        copied = Stopwatch()
        copied.seconds, copied.begun = dict(self.seconds), dict(self.begun)
        return copied

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        started = self.begun[name] = now()
        try:
            yield
        except BaseException:
            self.failed = name, now() - started
            raise
        self.seconds[name] = now() - started

    def add(self, name: str, begun: float, seconds: float) -> None:
        """Add a stage that was timed elsewhere."""
        self.begun[name], self.seconds[name] = begun, seconds


@dataclass(frozen=True, slots=True)
class DetectedImage:
    """One image's result: the detector's `prediction`, and of it the `detections` that the request asked for.

    `tiling` is how the upright original image was cut, `resized` the (height, width) in pixels that each tile was
    resized to. `reason` says why it ran with its attention, `auto` whether the service chose that. `masks` are those of
    the detections, in the form that the request asked for. `rung` is that of the ladder, None where it has no say.
    """

    prediction: Prediction
    detections: Detections
    tiling: Tiling
    resized: tuple[int, int]
    batch_size: int
    stopwatch: Stopwatch
    reason: str = ""
    auto: bool = False
    masks: Sequence[Segmentation] | None = None
    rung: int | None = None

    @property
    def width(self) -> int:
        """Pixels of the upright original image."""
        return self.tiling.width

    @property
    def height(self) -> int:
        """Pixels of the upright original image."""
        return self.tiling.height

    @property
    def attention(self) -> str:
        """The attention mode that ran."""
        return self.prediction.attention.config.mode


@dataclass(slots=True)
class RequestRecord:
    """One request. `started` is on the service's clock.

    `images` are its results in the order of their completion, `image_errors` the error types of a batch's failed
    images, and `error` that of the whole request. `batch_images` counts the images of a batch request. `exemplar` are
    the ids of its trace, None if it has none or is not sampled.
    """

    request_id: str
    started: float = field(default_factory=now)
    requested_attention: str = NO_ATTENTION
    bytes_read: int = 0
    batch_images: int | None = None
    images: list[DetectedImage] = field(default_factory=list)
    image_errors: list[str] = field(default_factory=list)
    error: str | None = None
    exemplar: dict[str, str] | None = None
    ended: float | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time the block as a stage of the request itself, unless it fails."""
        return self.stopwatch.stage(name)

    def end(self) -> None:
        """Note that the response has ended: log, metrics and trace tell of the same time."""
        self.ended = now()

    @property
    def elapsed(self) -> float:
        """Seconds since the request's headers were read, until now or the end of the response."""
        return (now() if self.ended is None else self.ended) - self.started

    @property
    def attention(self) -> str:
        """The attention mode that ran last; before that, the one asked for."""
        return self.images[-1].attention if self.images else self.requested_attention

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage; of several images, the slowest counts."""
        stages = dict(self.stopwatch.seconds)
        for image in self.images:
            for name, seconds in image.stopwatch.seconds.items():
                stages[name] = max(seconds, stages.get(name, 0.0))
        return stages

    def server_timing(self) -> str:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        stages = [*self.stages.items(), ("total", self.elapsed)]
        return ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in stages)


def request_id(requested: str | None) -> str:
    """Return the caller's own id if it is short and plain, else a new one."""
    return requested if requested is not None and _PLAIN_ID.fullmatch(requested) else uuid.uuid4().hex
