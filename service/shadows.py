"""Shadows: images that ran with approximate attention, run again with exact attention while the device is idle.

What a request got is compared with what exact attention gives, so that accuracy on live traffic is a metric. A shadow
never delays a request: it starts only while none is under way, one of several threads stays free, and it is given up
where a request needs its thread. What does not fit into the bounds is dropped, the oldest first, and counted.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from models.attention_config import AttentionConfig
from models.detections import Detections
from models.detector import Detector, DeviceOutOfMemory
from models.matching import match
from models.networks.interruptible import Interrupted
from service.detection_options import DetectionOptions
from service.errors import WorkerDead
from service.pipeline import Task, predict
from service.telemetry.metrics import Metrics, ShadowDrop
from service.telemetry.request_record import now

MAX_SHADOWS: Final = 32
MAX_BYTES: Final = 64 * 2**20
"""Of the pixels of all shadows that wait, after resizing."""
EXACT: Final = AttentionConfig.exact()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Shadow:
    """An image as it ran, and those detections that the request got and that are compared, without masks."""

    task: Task
    options: DetectionOptions
    detections: Detections

    @property
    def attention(self) -> str:
        """The attention mode that it ran with."""
        return self.task.attention.mode

    @property
    def bytes(self) -> int:
        """Bytes of its pixels."""
        return self.task.image.pixels.nbytes


class Shadows:
    """Takes a share `rate` of the images with approximate attention, and is the worker's spare work.

    Compared are detections as requests get them, after suppression, of a score of at least the request's threshold and
    at least `threshold`: callers who ask for all scores get noise, which differs by nature.

    `quiet` says whether no request is under way, `give_way` whether a request needs the thread of a shadow that runs.
    `draw` returns numbers in 0..1, below 1, of which those below `rate` choose an image.
    """

    def __init__(
        self,
        detector: Detector,
        rate: float,
        threshold: float,
        metrics: Metrics,
        quiet: Callable[[], bool],
        give_way: Callable[[], bool],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._detector = detector.interruptible(give_way)
        self._rate = rate
        self._threshold = threshold
        self._metrics = metrics
        self._quiet = quiet
        self._draw = draw
        self._lock = threading.Lock()
        self._waiting: deque[_Shadow] = deque()
        self._bytes = 0
        self._closed = False

    def offer(self, tasks: Sequence[Task], options: DetectionOptions, detections: Detections) -> None:
        """Perhaps keep an image that has been answered, of which `tasks` are the tiles. Never blocks for long."""
        attention = tasks[0].attention
        if attention.mode == EXACT.mode or self._draw() >= self._rate:
            return
        if len(tasks) > 1:
            self._metrics.on_shadow_dropped(attention.mode, "tiles")
            return
        options = replace(options, threshold=max(options.threshold, self._threshold))
        kept = replace(detections, masks=None).select(options.threshold)
        self._keep(_Shadow(replace(tasks[0], masks=False), options, kept))

    @property
    def ready(self) -> bool:
        """Whether a shadow may run now. This and the following make it the worker's spare work."""
        return bool(self._waiting) and self._quiet()

    def run(self) -> None:
        """Run the oldest shadow, compare and count it. Raises WorkerDead if the device has failed."""
        shadow = self._next()
        if shadow is None:
            return
        started = now()
        reason = self._compare(shadow)
        self._metrics.on_shadow_time(shadow.attention, now() - started)
        if reason is not None:
            self._metrics.on_shadow_dropped(shadow.attention, reason)

    def close(self) -> None:
        """Drop all that wait, and keep none from now on."""
        with self._lock:
            dropped = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._closed = True
        self._count_dropped(dropped, "draining")

    def _compare(self, shadow: _Shadow) -> ShadowDrop | None:
        """Run a shadow and count what differs; return why it could not be compared."""
        try:
            (prediction,) = predict(self._detector, [shadow.task], EXACT)
        except Interrupted:
            return "gave-way"
        except DeviceOutOfMemory:
            return "out-of-memory"
        except WorkerDead:
            raise
        except Exception:
            logger.warning("a shadow failed", exc_info=True)
            return "failed"
        exact = shadow.options.select(prediction.detections)
        self._metrics.on_shadow(shadow.attention, match(exact, shadow.detections))
        return None

    def _keep(self, shadow: _Shadow) -> None:
        dropped = []
        with self._lock:
            if self._closed:
                return
            self._waiting.append(shadow)
            self._bytes += shadow.bytes
            while len(self._waiting) > MAX_SHADOWS or self._bytes > MAX_BYTES:
                dropped.append(self._waiting.popleft())
                self._bytes -= dropped[-1].bytes
        self._count_dropped(dropped, "full")

    def _next(self) -> _Shadow | None:
        with self._lock:
            if not self._waiting:
                return None
            shadow = self._waiting.popleft()
            self._bytes -= shadow.bytes
            return shadow

    def _count_dropped(self, shadows: Sequence[_Shadow], reason: ShadowDrop) -> None:
        for shadow in shadows:
            self._metrics.on_shadow_dropped(shadow.attention, reason)
