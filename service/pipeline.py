"""The stages of a detection: decode, preprocess, choose the attention, predict, select the detections asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.config import AttentionConfig
from models.detections import Detections, Prediction
from models.detector import Detector, DeviceOutOfMemory
from models.preprocess import PreparedImage
from service.cpu_threads import compute_with
from service.detection_options import DetectionOptions
from service.errors import DeadlinePassed, UndecodableImage, WorkerDead
from service.images.drawing import draw_detections
from service.images.image_decoding import decode_image
from service.images.pixels import use_pixels
from service.scheduling.inference_worker import InferenceWorker
from service.settings import Settings
from service.telemetry.request_record import DetectedImage, Stopwatch, now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task:
    """What the device needs for one image: its pixels, how to attend, and the minimum score of its detections.

    `reason` says why it attends so.
    """

    image: PreparedImage
    attention: AttentionConfig
    threshold: float
    reason: str


def prepare(detector: Detector, image: NDArray[np.uint8], options: DetectionOptions) -> Task:
    """Preprocess an RGB image [H, W, 3] and choose its attention. Raises UndecodableImage for an unusable shape."""
    try:
        prepared = detector.preprocess(image)
    except ValueError as error:
        raise UndecodableImage(f"The image's shape cannot be used: {error}") from error
    if options.attention is not None:
        return Task(prepared, options.attention, options.threshold, options.reason)
    chosen = detector.auto_attention(detector.tokens(prepared))
    return Task(prepared, chosen.attention, options.threshold, chosen.reason)


def predict(detector: Detector, tasks: Sequence[Task], attention: AttentionConfig) -> Sequence[Prediction]:
    """Run the detector on images of one attention. If it fails, ask the device whether it still works.

    Raises DeviceOutOfMemory, WorkerDead if the device has failed, and otherwise what the detector raised.
    """
    try:
        return detector.predict([task.image for task in tasks], attention, [task.threshold for task in tasks])
    except DeviceOutOfMemory:
        raise
    except Exception:
        try:
            detector.check()
        except RuntimeError as error:
            raise WorkerDead from error
        raise


def detect(
    detector: Detector, image: NDArray[np.uint8], options: DetectionOptions
) -> tuple[Task, Prediction, Detections]:
    """Run all stages after decoding for one image, in this thread. Returns the prediction and what was asked for."""
    task = prepare(detector, image, options)
    (prediction,) = predict(detector, [task], task.attention)
    return task, prediction, options.select(prediction.detections)


class Pipeline:
    """Runs the stages for many requests: decoding and preprocessing on threads, prediction on the worker's.

    At most `settings.preprocess_threads` images are decoded at a time, and images that wait for the device have
    been resized already.
    """

    def __init__(self, detector: Detector, worker: InferenceWorker[Task, Prediction], settings: Settings) -> None:
        self._detector = detector
        self._worker = worker
        self._settings = settings
        self._pool = ThreadPoolExecutor(
            settings.preprocess_threads, thread_name_prefix="decode", initializer=compute_with, initargs=(1,)
        )

    async def detect(self, data: bytes, options: DetectionOptions) -> DetectedImage:
        """Detect objects in one encoded image. If cancelled, it drops the image before it costs device time.

        Raises the errors of decoding (413, 415, 422) and of scheduling (429, 503, 504, 507).
        """
        stopwatch, arrived = Stopwatch(), now()

        def decode() -> NDArray[np.uint8]:
            stopwatch.seconds["wait"] = now() - arrived
            with stopwatch.stage("decode"):
                return self._decode(data)

        def preprocess(pixels: NDArray[np.uint8]) -> Task:
            with stopwatch.stage("preprocess"):
                return prepare(self._detector, pixels, options)

        try:
            async with asyncio.timeout(options.deadline - now()):
                task = await self._in_pool(lambda: use_pixels(decode, preprocess))
        except TimeoutError:
            raise DeadlinePassed from None
        image = task.image
        completed = await self._worker.submit(
            task, key=task.attention, height=image.height, width=image.width, deadline=options.deadline
        )
        stopwatch.seconds |= {"queue": completed.queue_seconds, "inference": completed.inference_seconds}
        with stopwatch.stage("postprocess"):
            detections = options.select(completed.result.detections)
        return DetectedImage(
            completed.result,
            detections,
            image.original_width,
            image.original_height,
            completed.batch_size,
            stopwatch,
            task.reason,
            auto=options.attention is None,
        )

    async def draw(self, data: bytes, detected: DetectedImage) -> bytes:
        """Return a PNG of the image with its detections. The image is decoded again: its pixels were not kept."""

        def draw(pixels: NDArray[np.uint8]) -> bytes:
            return draw_detections(pixels, detected.detections, tuple(self._detector.labels))

        def decode_and_draw() -> bytes:
            with detected.stopwatch.stage("draw"):
                return use_pixels(lambda: self._decode(data), draw)

        return await self._in_pool(decode_and_draw)

    def close(self) -> None:
        """End the threads; images that wait for one are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        return decode_image(data, max_bytes=self._settings.max_bytes, max_pixels=self._settings.max_pixels)
