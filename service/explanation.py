"""The stages of an explanation: those of a detection, but that the device runs the encoder up to one layer only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attention_config import AttentionConfig, AttentionMode
from models.detections import Prediction
from models.detector import Detector
from models.explanation import Explanation, explain, locate
from models.preprocess import PreparedImage
from service.errors import BadParameter
from service.explanation_options import ExplanationOptions, View
from service.images.explanation_drawing import draw_clusters, draw_weights
from service.pipeline import Pipeline, Task, predict, tell_device_failures
from service.scheduling.inference_worker import InferenceWorker
from service.telemetry.request_record import Stopwatch
from service.telemetry.tracing import ImageTrace, current_trace


@dataclass(frozen=True, slots=True)
class ExplanationTask:
    """What the device needs to explain one image; `reason` says why it attends so, `trace` is of its request."""

    image: PreparedImage
    attention: AttentionConfig
    reason: str
    layer: int
    head: int
    point: tuple[float, float] | None
    trace: ImageTrace | None = None


@dataclass(frozen=True, slots=True)
class ExplanationKey:
    """The key of explanations in the queue: those of one key take about as long, and may run one after another."""

    mode: AttentionMode
    layer: int


@dataclass(frozen=True, slots=True)
class ExplainedImage:
    """One image's explanation, and the task that asked for it."""

    explanation: Explanation
    task: ExplanationTask


def run_tasks(detector: Detector, tasks: Sequence[Any], key: Any) -> Sequence[Prediction] | Sequence[Explanation]:
    """Run what waited under one key: explanations, or detections with the attention that is the key."""
    if isinstance(key, ExplanationKey):
        return explain_each(detector, tasks)
    return predict(detector, tasks, key)


def explain_each(detector: Detector, tasks: Sequence[ExplanationTask]) -> list[Explanation]:
    """Explain images one after another. Raises as `predict` does."""
    with tell_device_failures(detector):
        return [explain(detector, task.image, task.attention, task.layer, task.head, task.point) for task in tasks]


def explanation_task(detector: Detector, task: Task, options: ExplanationOptions) -> ExplanationTask:
    """Return the task of explaining an image that was prepared as for a detection.

    Raises BadParameter for a point outside the image, and for an image of which nothing can be explained.
    """
    try:
        locate(detector, task.image, options.point)
    except ValueError as error:
        raise BadParameter(str(error)) from error
    return ExplanationTask(task.image, task.attention, task.reason, options.layer, options.head, options.point)


class Explainer:
    """Explains images with the threads of a pipeline and of its worker."""

    def __init__(
        self, detector: Detector, worker: InferenceWorker[ExplanationTask, Explanation], pipeline: Pipeline
    ) -> None:
        self._detector = detector
        self._worker = worker
        self._pipeline = pipeline

    async def explain(self, data: bytes, options: ExplanationOptions, stopwatch: Stopwatch) -> ExplainedImage:
        """Explain one encoded image. If cancelled, it drops the image before it costs device time.

        Raises the errors of decoding (413, 415, 422) and of scheduling (429, 503, 504, 507).
        """
        (prepared,) = await self._pipeline.prepare(data, [options.run], stopwatch)
        (whole,) = prepared.tasks
        task = await self._pipeline.in_pool(partial(explanation_task, self._detector, whole, options))
        trace = current_trace.get()
        if trace is not None:
            task = replace(task, trace=trace.image(stopwatch))
        with stopwatch.stage("queue"):
            completed = await self._worker.submit(
                task,
                key=ExplanationKey(task.attention.mode, task.layer),
                height=task.image.height,
                width=task.image.width,
                deadline=options.run.deadline,
            )
        stopwatch.add("queue", completed.arrival, completed.queue_seconds)
        stopwatch.add("inference", completed.arrival + completed.queue_seconds, completed.inference_seconds)
        return ExplainedImage(completed.result, task)

    async def draw(self, data: bytes, explained: ExplainedImage, view: View | None, stopwatch: Stopwatch) -> bytes:
        """Return a PNG of a view, by default that of `picture`. The image is decoded again: its pixels were not kept.

        Raises BadParameter for a view that exact attention does not have.
        """
        return await self._pipeline.picture(data, stopwatch, picture(explained, view))


def picture(explained: ExplainedImage, view: View | None) -> Callable[[NDArray[np.uint8]], bytes]:
    """Return what makes a PNG of an image's pixels and a view of its explanation.

    The default is the clusters; for a point, what really attended. Raises BadParameter for a view that exact attention
    does not have.
    """
    point, clusters = explained.task.point, explained.explanation.clusters
    attended = explained.explanation.attention_map
    if point is None or attended is None:
        if clusters is not None:
            return partial(draw_clusters, clusters=clusters)
    else:
        view = view or ("exact" if attended.approximate is None else "approximate")
        if view == "clusters" and clusters is not None:
            return partial(draw_clusters, clusters=clusters, point=point)
        weights = attended.exact if view == "exact" else attended.approximate
        if view != "clusters" and weights is not None:
            return partial(draw_weights, weights=weights, most=attended.most, point=point)
    raise BadParameter(
        "view: this image was attended to exactly, so that there are no clusters and there is nothing approximate; "
        "ask for attention=act, tangent or merge, or for the exact attention of a point",
        parameter="view",
    )
