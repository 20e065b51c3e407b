"""The stages of a detection: decode, preprocess, choose the attention, predict, select the detections asked for.

An image that is to be cut is cut before it is preprocessed, and what its tiles give is merged before the selection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.attention_config import AttentionConfig
from models.detections import Detections, Prediction
from models.detector import Detector, DeviceOutOfMemory
from models.masks.forms import Segmentation, segmentations
from models.networks.interruptible import Interrupted
from models.preprocess import PreparedImage
from models.tiles.merging import merged
from models.tiles.tiling import Tiling
from service.cpu_threads import compute_with
from service.degradation import Degradation
from service.detection_options import DetectionOptions
from service.errors import DeadlinePassed, UndecodableImage, WorkerDead
from service.images.drawing import draw_detections
from service.images.image_decoding import decode_image
from service.images.pixels import use_pixels
from service.scheduling.inference_worker import Completed, InferenceWorker
from service.settings import Settings
from service.telemetry.request_record import DetectedImage, Stopwatch, now
from service.telemetry.tracing import ImageTrace, current_trace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task:
    """What the device needs for one image or tile: its pixels, how to attend, and the minimum score of its detections.

    `reason` says why it attends so. `masks`: whether detections get masks. `trace` is of its request, if that has one.
    """

    image: PreparedImage
    attention: AttentionConfig
    threshold: float
    reason: str
    masks: bool
    trace: ImageTrace | None = None


@dataclass(frozen=True, slots=True)
class PreparedTiles:
    """An image's tiles, one where it is not cut, and what the device needs for each of them.

    They are of one size: the same is true of what they are resized to, and of the attention that is chosen. `rung` and
    `note` are those of `Step`.
    """

    tiling: Tiling
    tasks: Sequence[Task]
    rung: int | None = None
    note: str = ""

    @property
    def reason(self) -> str:
        """Why the tiles are detected in so, in one line for people."""
        return "; ".join(filter(None, (self.tasks[0].reason, self.note)))

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) in pixels that each tile was resized to."""
        pixels = self.tasks[0].image.pixels
        return pixels.shape[1], pixels.shape[2]

    def merged(self, predictions: Sequence[Prediction], options: DetectionOptions) -> tuple[Prediction, Detections]:
        """Return the prediction for the whole image, and those of its detections that the request asked for."""
        prediction = merged(self.tiling, predictions, options.nms)
        return prediction, options.select(prediction.detections)


def prepare(detector: Detector, image: NDArray[np.uint8], options: DetectionOptions) -> PreparedTiles:
    """Cut an RGB image [H, W, 3] as asked for, preprocess it, and choose its attention.

    Raises UndecodableImage for an unusable shape.
    """
    height, width = image.shape[:2]
    config = detector.config.resized_to(options.size)
    tiling = Tiling.of(height, width, options.tiles, config, options.max_tiles)
    return PreparedTiles(tiling, [_prepare_tile(detector, tile, options) for tile in tiling.cut(image)])


def _prepare_tile(detector: Detector, tile: NDArray[np.uint8], options: DetectionOptions) -> Task:
    try:
        prepared = detector.preprocess(tile, options.size)
    except ValueError as error:
        raise UndecodableImage(f"The image's shape cannot be used: {error}") from error
    if options.attention is not None:
        return Task(prepared, options.attention, options.threshold, options.reason, options.masks is not None)
    chosen = detector.auto_attention(detector.tokens(prepared))
    return Task(prepared, chosen.attention, options.threshold, chosen.reason, options.masks is not None)


def predict(detector: Detector, tasks: Sequence[Task], attention: AttentionConfig) -> Sequence[Prediction]:
    """Run the detector on images of one attention.

    Raises DeviceOutOfMemory, Interrupted, WorkerDead if the device has failed, and otherwise what the detector raised.
    """
    with tell_device_failures(detector):
        thresholds, masks = [task.threshold for task in tasks], [task.masks for task in tasks]
        return detector.predict([task.image for task in tasks], attention, thresholds, masks)


@contextmanager
def tell_device_failures(detector: Detector) -> Iterator[None]:
    """Ask the device whether it still works if what it computes inside fails. Raises WorkerDead where it does not."""
    try:
        yield
    except (DeviceOutOfMemory, Interrupted):
        raise
    except Exception:
        try:
            detector.check()
        except RuntimeError as error:
            raise WorkerDead from error
        raise


def detect(
    detector: Detector, image: NDArray[np.uint8], options: DetectionOptions
) -> tuple[PreparedTiles, Prediction, Detections]:
    """Run all stages after decoding for one image, in this thread. Returns the prediction and what was asked for."""
    prepared = prepare(detector, image, options)
    predictions = [predict(detector, [task], task.attention)[0] for task in prepared.tasks]
    return prepared, *prepared.merged(predictions, options)


def encoded_masks(detections: Detections, options: DetectionOptions) -> list[Segmentation] | None:
    """The mask of each detection in the form that the request asked for; None if in none."""
    if options.masks is None or detections.masks is None:
        return None
    return segmentations(detections.masks, options.masks)


OnAnswer = Callable[[Sequence[Task], DetectionOptions, Detections], None]


async def all_or_none(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of works that run side by side. If one fails, the others are cancelled before it raises."""
    running = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.wait(running)


class Pipeline:
    """Runs the stages for many requests: decoding and preprocessing on threads, prediction on the worker's.

    At most `settings.preprocess_threads` images are decoded at a time, and images that wait for the device have
    been resized already. With `degradation`, images that would be late are made cheaper. `on_answer` is told of what
    `detect` returns: of the image that ran, what was asked for, and what was detected.
    """

    def __init__(
        self,
        detector: Detector,
        worker: InferenceWorker[Task, Prediction],
        settings: Settings,
        degradation: Degradation | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self._detector = detector
        self._worker = worker
        self._settings = settings
        self._degradation = degradation
        self._on_answer = on_answer
        self._pool = ThreadPoolExecutor(
            settings.preprocess_threads, thread_name_prefix="decode", initializer=compute_with, initargs=(1,)
        )

    async def detect(self, data: bytes, options: DetectionOptions) -> DetectedImage:
        """Detect objects in one encoded image. If cancelled, it drops the image before it costs device time.

        Raises the errors of decoding (413, 415, 422) and of scheduling (429, 503, 504, 507).
        """
        stopwatch = Stopwatch()
        (prepared,) = await self.prepare(data, [options], stopwatch)
        image = await self.detect_prepared(prepared, options, stopwatch)
        if self._on_answer is not None:
            self._on_answer(prepared.tasks, options, image.detections)
        return image

    async def prepare(self, data: bytes, ways: Sequence[DetectionOptions], stopwatch: Stopwatch) -> list[PreparedTiles]:
        """Decode one image once, and prepare it in each way; all of them have one deadline.

        Raises the errors of decoding and DeadlinePassed.
        """
        arrived, trace = now(), current_trace.get()
        if trace is not None:
            trace.image(stopwatch)

        def decode() -> NDArray[np.uint8]:
            stopwatch.add("wait", arrived, now() - arrived)
            with stopwatch.stage("decode"):
                return self._decode(data)

        def preprocess(pixels: NDArray[np.uint8]) -> list[PreparedTiles]:
            with stopwatch.stage("preprocess"):
                return [self._prepare(pixels, options, arrived) for options in ways]

        try:
            async with asyncio.timeout(ways[0].deadline - now()):
                return await self.in_pool(lambda: use_pixels(decode, preprocess))
        except TimeoutError:
            raise DeadlinePassed from None

    async def detect_prepared(
        self, prepared: PreparedTiles, options: DetectionOptions, stopwatch: Stopwatch
    ) -> DetectedImage:
        """Detect objects in one image that has been prepared so; `stopwatch` has timed that, and times the rest.

        Raises the errors of scheduling.
        """
        trace = current_trace.get()
        tasks = prepared.tasks
        if trace is not None:
            tasks = [replace(task, trace=trace.image(stopwatch)) for task in tasks]
        with stopwatch.stage("queue"):
            completed = await self._predict(tasks, options.deadline)
        arrival = min(one.arrival for one in completed)
        begun = min(one.queue_seconds for one in completed)
        ended = max(one.queue_seconds + one.inference_seconds for one in completed)
        stopwatch.add("queue", arrival, begun)
        stopwatch.add("inference", arrival + begun, ended - begun)
        with stopwatch.stage("postprocess"):
            merge = partial(prepared.merged, [one.result for one in completed], options)
            prediction, detections = merge() if len(completed) == 1 else await self.in_pool(merge)
            encoded = await self.in_pool(partial(encoded_masks, detections, options)) if options.masks else None
        return DetectedImage(
            prediction,
            detections,
            prepared.tiling,
            prepared.resized,
            max(one.batch_size for one in completed),
            stopwatch,
            prepared.reason,
            auto=options.attention is None,
            masks=encoded,
            rung=prepared.rung,
        )

    def _prepare(self, image: NDArray[np.uint8], options: DetectionOptions, arrived: float) -> PreparedTiles:
        """Prepare an image, at the rung at which it is in time: most often the present one, so that it is done once."""
        if self._degradation is None:
            return prepare(self._detector, image, options)
        present = self._degradation.present(image.shape[0], image.shape[1], options)
        prepared = prepare(self._detector, image, present.options)
        pixels = [task.image.height * task.image.width for task in prepared.tasks]
        elapsed, patience = now() - arrived, options.deadline - now()
        step = self._degradation.choose(present, prepared.tasks[0].attention, pixels, elapsed, patience)
        if step.rung != present.rung:
            prepared = prepare(self._detector, image, step.options)
        return replace(prepared, rung=step.rung, note=step.note)

    async def _predict(self, tasks: Sequence[Task], deadline: float) -> list[Completed[Prediction]]:
        return await all_or_none(
            self._worker.submit(
                task, key=task.attention, height=task.image.height, width=task.image.width, deadline=deadline
            )
            for task in tasks
        )

    async def draw(self, data: bytes, detected: DetectedImage) -> bytes:
        """Return a PNG of the image with its detections. The image is decoded again: its pixels were not kept."""

        def draw(pixels: NDArray[np.uint8]) -> bytes:
            detections = detected.detections
            return draw_detections(pixels, detections, tuple(self._detector.labels), detections.masks or ())

        return await self.picture(data, detected.stopwatch, draw)

    async def picture(self, data: bytes, stopwatch: Stopwatch, draw: Callable[[NDArray[np.uint8]], bytes]) -> bytes:
        """Decode an image on one of the threads, and return the PNG that `draw` makes of its pixels there."""

        def decode_and_draw() -> bytes:
            with stopwatch.stage("draw"):
                return use_pixels(lambda: self._decode(data), draw)

        return await self.in_pool(decode_and_draw)

    def close(self) -> None:
        """End the threads; images that wait for one are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def in_pool(self, work: Callable[[], T]) -> T:
        """Do work on one of the threads that decode."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        return decode_image(data, max_bytes=self._settings.max_bytes, max_pixels=self._settings.max_pixels)
