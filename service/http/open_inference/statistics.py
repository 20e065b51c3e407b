"""Triton's statistics extension, from the service's own metrics."""

from __future__ import annotations

import re
from typing import Final

from prometheus_client import Counter, Histogram
from pydantic import BaseModel

from service.telemetry.metrics import Metrics


class Duration(BaseModel):
    """How often, and nanoseconds in all."""

    count: int
    ns: int


class Durations(BaseModel):
    """Times by stage. `success` and `fail` are of requests, the others of images.

    `compute_input` is decoding and preprocessing, `compute_infer` the device, `compute_output` its results to
    detections.
    """

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    """Since the start: images answered, batches that ran, and times, of all detection requests on all addresses."""

    name: str
    version: str
    inference_count: int
    execution_count: int
    inference_stats: Durations


class Statistics(BaseModel):
    """The statistics of the one model."""

    model_stats: list[ModelStatistics]


_STAGES: Final[dict[str, tuple[str, ...]]] = {
    "queue": ("queue",),
    "compute_input": ("decode", "preprocess"),
    "compute_infer": ("inference",),
    "compute_output": ("postprocess",),
}
_DETECTION: Final = re.compile(r"/detect.*|/compare|/v2/.*/infer")


def model_statistics(metrics: Metrics, name: str, version: str) -> ModelStatistics:
    """Return the statistics since the start."""
    return ModelStatistics(
        name=name,
        version=version,
        inference_count=int(_total(metrics.images, "_total")),
        execution_count=int(_total(metrics.batch_size, "_count")),
        inference_stats=Durations(
            success=_duration(metrics.request_duration, route=_DETECTION, status=re.compile("200")),
            fail=_duration(metrics.request_duration, route=_DETECTION, status=re.compile("[^2]..")),
            **{name: _stages(metrics.stage_duration, stages) for name, stages in _STAGES.items()},
        ),
    )


def _stages(histogram: Histogram, stages: tuple[str, ...]) -> Duration:
    """Return the time in several stages, of as many images as passed the last."""
    each = [_duration(histogram, stage=re.compile(stage)) for stage in stages]
    return Duration(count=each[-1].count, ns=sum(one.ns for one in each))


def _duration(histogram: Histogram, **labels: re.Pattern[str]) -> Duration:
    seconds = _total(histogram, "_sum", **labels)
    return Duration(count=int(_total(histogram, "_count", **labels)), ns=round(seconds * 1e9))


def _total(metric: Counter | Histogram, suffix: str, **labels: re.Pattern[str]) -> float:
    """Return the sum of the series whose names end so, and whose labels match."""
    samples = (sample for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix))
    return sum(
        sample.value
        for sample in samples
        if all(pattern.fullmatch(sample.labels[label]) for label, pattern in labels.items())
    )
