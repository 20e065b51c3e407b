"""The way of one image: bytes → pixels → prepared → queue and device → the detections that were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models import auto_attention
from models.config import AttentionConfig
from models.detections import Detections, Prediction
from models.detector import Detector
from models.preprocess import PreparedImage
from service.errors import DeadlinePassed, UndecodableImage
from service.images.drawing import draw_detections
from service.images.image_decoding import decode_image
from service.scheduling.inference_worker import InferenceWorker
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import Stopwatch, now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants of its image. `attention` None: `large` or exact, by the image's tokens (auto).

    `labels` None keeps all classes, `nms` None what overlaps. `deadline` is on the service's clock.
    """

    attention: AttentionConfig | None
    large: AttentionConfig
    threshold: float
    max_detections: int
    nms: float | None
    labels: frozenset[str] | None
    deadline: float


@dataclass(frozen=True, slots=True)
class Task:
    """What the device is given: an image, and the least score of the boxes that are wanted of it."""

    image: PreparedImage
    threshold: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: `prediction` as the detector gave it, `detections` what was asked for."""

    prediction: Prediction
    detections: Detections
    width: int
    height: int
    batch_size: int
    watch: Stopwatch


class Pipeline:
    """Takes images through decoding, preprocessing and inference.

    Large pixels wait for nobody: `threads` images at most are decoded at a time, and what waits for the
    device has been resized.
    """

    def __init__(
        self,
        detector: Detector,
        worker: InferenceWorker[Task, Prediction],
        metrics: Metrics,
        *,
        threads: int,
        max_bytes: int,
        max_pixels: int,
    ) -> None:
        self._detector = detector
        self._worker = worker
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def detect(self, data: bytes, wish: Wish) -> Outcome:
        """Detect objects in one encoded image. Cancelling drops it before it costs device time.

        Raises the errors of decoding (413, 415, 422) and of scheduling (429, 503, 504, 507).
        """
        watch = Stopwatch()
        try:
            async with asyncio.timeout(wish.deadline - now()):
                prepared = await self._in_pool(watch, lambda: self._prepare(data, watch))
        except TimeoutError:
            raise DeadlinePassed from None
        config = wish.attention or auto_attention(self._detector.tokens(prepared), wish.large)
        task = Task(prepared, wish.threshold)
        completed = await self._worker.submit(
            task, key=config, height=prepared.height, width=prepared.width, deadline=wish.deadline
        )
        watch.seconds |= {"queue": completed.queue_seconds, "inference": completed.inference_seconds}
        prediction = completed.result
        with watch.stage("postprocess"):
            detections = prediction.detections.select(wish.threshold, wish.max_detections, wish.labels, wish.nms)
        self._metrics.observe_stages(watch.seconds, config.mode)
        self._metrics.observe_prediction(prediction, detections.labels)
        width, height = prepared.original_width, prepared.original_height
        return Outcome(prediction, detections, width, height, completed.batch_size, watch)

    async def draw(self, data: bytes, outcome: Outcome) -> bytes:
        """Return a PNG of the image with its detections. Decodes anew: pixels were too large to keep."""

        def work() -> bytes:
            with outcome.watch.stage("draw"):
                return draw_detections(self._decode(data), outcome.detections, tuple(self._detector.labels))

        png = await self._in_pool(Stopwatch(), work)
        mode = outcome.prediction.attention.config.mode
        self._metrics.observe_stages({"draw": outcome.watch.seconds["draw"]}, mode)
        return png

    def close(self) -> None:
        """End the threads; images that wait for them are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_pool(self, watch: Stopwatch, work: Callable[[], T]) -> T:
        asked = now()

        def timed() -> T:
            watch.seconds["wait"] = now() - asked
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, timed)

    def _prepare(self, data: bytes, watch: Stopwatch) -> PreparedImage:
        with watch.stage("decode"):
            image = self._decode(data)
        with watch.stage("preprocess"):
            try:
                return self._detector.preprocess(image)
            except ValueError as error:
                raise UndecodableImage(f"The image's shape cannot be used: {error}") from error

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        return decode_image(data, max_bytes=self._max_bytes, max_pixels=self._max_pixels)
