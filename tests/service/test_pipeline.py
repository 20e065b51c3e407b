"""The pipeline around a fake detector, without HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.config import AttentionConfig
from models.detector import DeviceOutOfMemory
from service.detection_options import DetectionOptions
from service.errors import DeadlinePassed, UndecodableImage, WorkerDead
from service.pipeline import Pipeline, Task, detect, predict, prepare
from service.scheduling.batcher import BatchLimits
from service.scheduling.inference_worker import InferenceWorker
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now

IMAGE = np.zeros((40, 60, 3), np.uint8)


def options(**changes: Any) -> DetectionOptions:
    plain = DetectionOptions(AttentionConfig.exact(), "asked for", 0.5, 100, None, None, deadline=now() + 60)
    return replace(plain, **changes)


def task(detector: Any) -> Task:
    return prepare(detector, IMAGE, options())


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
    task, prediction, detections = detect(detector, decode_image(png, max_bytes=10**6, max_pixels=10**6), asked)
    assert list(detections) == list(image.detections)
    assert prediction.attention == image.prediction.attention
    assert task.reason == image.reason == "asked for"


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
    detector.preprocess = lambda image: preprocess(image) if decoding.wait(10) else None

    async def late(pipeline: Pipeline) -> None:
        with pytest.raises(DeadlinePassed):
            await pipeline.detect(png, options(deadline=now() + 0.05))
        decoding.set()

    run(late)
    assert detector.entered == 0


@pytest.mark.parametrize(("side", "mode"), [(45, "exact"), (46, "tangent")])
def test_auto_chooses_the_attention_by_tokens(detector: Any, side: int, mode: str) -> None:
    image = np.zeros((side, 45, 3), np.uint8)  # the fake detector's tokens are pixels; see `TIMES`
    chosen = prepare(detector, image, options(attention=None))
    assert chosen.attention.mode == mode
    assert chosen.reason == detector.auto_attention(side * 45).reason


def test_an_unusable_shape_is_an_error_of_the_image(detector: Any) -> None:
    def refuse(image: Any) -> None:
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
