"""The pipeline around a fake detector, without HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.detector import DeviceOutOfMemory
from service.detection_options import DetectionOptions
from service.errors import DeadlinePassed, QueueFull, UndecodableImage, WorkerDead
from service.pipeline import Pipeline, PreparedTiles, Task, detect, predict, prepare
from service.scheduling.batcher import BatchLimits
from service.scheduling.inference_worker import InferenceWorker
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now

IMAGE = np.zeros((40, 60, 3), np.uint8)


def options(**changes: Any) -> DetectionOptions:
    plain = DetectionOptions(
        attention=AttentionConfig.exact(),
        reason="asked for",
        size=352,
        tiles=None,
        max_tiles=8,
        threshold=0.5,
        max_detections=100,
        nms=None,
        labels=None,
        masks=None,
        deadline=now() + 60,
    )
    return replace(plain, **changes)


def task(detector: Any) -> Task:
    (only,) = prepare(detector, IMAGE, options()).tasks
    return only


@pytest.fixture
def run(detector: Any) -> Callable[[Callable[[Pipeline], Coroutine[Any, Any, Any]]], Any]:
    """Return a function that runs a coroutine of a pipeline, and returns its result."""

    def run(use: Callable[[Pipeline], Coroutine[Any, Any, Any]]) -> Any:
        async def scenario() -> Any:
            worker = InferenceWorker[Task, Any](
                lambda tasks, attention: predict(detector, tasks, attention),
                limits=BatchLimits(4, 10**9, 0),
                max_queue=4,
                observer=Metrics(),
                clock=now,
                is_out_of_memory=lambda error: False,
            )
            worker.start()
            pipeline = Pipeline(detector, worker, Settings(preprocess_threads=1))
            try:
                return await use(pipeline)
            finally:
                detector.gate.set()
                await worker.drain(10)
                pipeline.close()

        return asyncio.run(scenario())

    return run


def test_an_image_goes_through_every_stage(run: Any, png: bytes) -> None:
    image = run(lambda pipeline: pipeline.detect(png, options(labels=frozenset({"text"}))))
    assert image.detections.labels == ("text",)
    assert (image.width, image.height, image.batch_size, image.attention) == (60, 40, 1, "exact")
    assert list(image.stopwatch.seconds) == ["wait", "decode", "preprocess", "queue", "inference", "postprocess"]


def test_detect_without_a_worker_gives_the_same_result(run: Any, detector: Any, png: bytes) -> None:
    from service.images.image_decoding import decode_image

    asked = options(attention=AttentionConfig.act(8), threshold=0.0, max_detections=2)
    image = run(lambda pipeline: pipeline.detect(png, asked))
    prepared, prediction, detections = detect(detector, decode_image(png, max_bytes=10**6, max_pixels=10**6), asked)
    assert list(detections) == list(image.detections)
    assert prediction.attention == image.prediction.attention
    assert prepared.tasks[0].reason == image.reason == "asked for"
    assert (prepared.resized, image.resized, len(image.tiling)) == ((40, 60), (40, 60), 1)


def test_tiles_run_like_images_and_come_out_as_one(run: Any, detector: Any, png: bytes) -> None:
    from service.images.image_decoding import decode_image

    asked = options(tiles=(2, 2), attention=AttentionConfig.act(8), threshold=0.0, size=304)
    pixels = decode_image(png, max_bytes=10**6, max_pixels=10**6)
    prepared, prediction, detections = detect(detector, pixels, asked)
    assert isinstance(prepared, PreparedTiles)
    assert detector.batches == [(1, asked.attention)] * 4
    detector.batches.clear()
    image = run(lambda pipeline: pipeline.detect(png, asked))
    assert sum(count for count, _ in detector.batches) == 4
    assert list(image.detections) == list(detections)
    assert image.prediction.attention == prediction.attention
    assert prediction.attention.encoder_gflops == 4 * 1.5
    assert (image.tiling.rows, image.tiling.columns, image.width, image.height) == (2, 2, 60, 40)
    assert image.resized == prepared.resized == image.tiling.tile_size
    assert list(image.stopwatch.seconds) == ["wait", "decode", "preprocess", "queue", "inference", "postprocess"]


def test_auto_cuts_long_images_into_no_more_tiles_than_allowed(detector: Any) -> None:
    image = np.zeros((400, 10, 3), np.uint8)
    assert len(prepare(detector, image, options(tiles="auto")).tasks) == 8
    assert len(prepare(detector, image, options(tiles="auto", max_tiles=3)).tasks) == 3
    assert len(prepare(detector, IMAGE, options(tiles="auto")).tasks) == 1


@pytest.mark.parametrize("waiting", ["queue", "deadline"])
def test_tiles_that_wait_are_dropped_with_the_first_that_fails(
    run: Any, detector: Any, png: bytes, waiting: str
) -> None:
    detector.gate.clear()
    full = waiting == "queue"
    asked = options(tiles=(2, 4) if full else (2, 2), deadline=now() + (60 if full else 0.3))

    async def late(pipeline: Pipeline) -> None:
        first = asyncio.create_task(pipeline.detect(png, options(attention=AttentionConfig.act(4))))
        while not detector.entered:
            await asyncio.sleep(0.001)
        with pytest.raises(QueueFull if full else DeadlinePassed):
            await pipeline.detect(png, asked)
        detector.gate.set()
        await first

    run(late)
    assert [attention.mode for _, attention in detector.batches] == ["act"]


def test_cancelling_drops_all_tiles(run: Any, detector: Any, png: bytes) -> None:
    detector.gate.clear()

    async def leave(pipeline: Pipeline) -> None:
        first = asyncio.create_task(pipeline.detect(png, options(attention=AttentionConfig.act(4))))
        while not detector.entered:
            await asyncio.sleep(0.001)
        tiled = asyncio.create_task(pipeline.detect(png, options(tiles=(2, 2))))
        while pipeline._worker.backlog.images < 5:
            await asyncio.sleep(0.001)
        tiled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tiled
        detector.gate.set()
        await first

    run(leave)
    assert [attention.mode for _, attention in detector.batches] == ["act"]


def test_drawing_is_a_stage_of_the_image(run: Any, png: bytes) -> None:
    async def draw(pipeline: Pipeline) -> Any:
        image = await pipeline.detect(png, options())
        return image, await pipeline.draw(png, image)

    image, picture = run(draw)
    assert picture.startswith(b"\x89PNG")
    assert list(image.stopwatch.seconds)[-1] == "draw"


def test_the_deadline_counts_the_wait_for_a_thread(run: Any, detector: Any, png: bytes) -> None:
    decoding = threading.Event()
    preprocess = detector.preprocess
    detector.preprocess = lambda image, size: preprocess(image, size) if decoding.wait(10) else None

    async def late(pipeline: Pipeline) -> None:
        with pytest.raises(DeadlinePassed):
            await pipeline.detect(png, options(deadline=now() + 0.05))
        decoding.set()

    run(late)
    assert detector.entered == 0


@pytest.mark.parametrize(("side", "mode"), [(45, "exact"), (46, "tangent")])
def test_auto_chooses_the_attention_by_tokens(detector: Any, side: int, mode: str) -> None:
    image = np.zeros((side, 45, 3), np.uint8)  # the fake detector's tokens are pixels; see `TIMES`
    (chosen,) = prepare(detector, image, options(attention=None)).tasks
    assert chosen.attention.mode == mode
    assert chosen.reason == detector.auto_attention(side * 45).reason


def test_an_unusable_shape_is_an_error_of_the_image(detector: Any) -> None:
    def refuse(image: Any, size: int) -> None:
        raise ValueError("too thin")

    detector.preprocess = refuse
    with pytest.raises(UndecodableImage, match="too thin"):
        task(detector)


@pytest.mark.parametrize("raised", [ValueError("oh"), DeviceOutOfMemory("full")])
def test_an_error_of_a_working_device_is_raised_as_it_is(detector: Any, raised: Exception) -> None:
    detector.broken = raised
    with pytest.raises(type(raised)):
        predict(detector, [task(detector)], AttentionConfig.tangent(4))


def test_an_error_of_a_failed_device_is_worker_dead(detector: Any) -> None:
    detector.broken, detector.dead = ValueError("launch failure"), True
    with pytest.raises(WorkerDead):
        predict(detector, [task(detector)], AttentionConfig.tangent(4))
