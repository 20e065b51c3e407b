"""A comparison: one image in two ways, and what they find alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from models.matching import Matching, match
from service.comparison_options import Side
from service.detection_options import DetectionOptions
from service.errors import ServiceError
from service.pipeline import Pipeline, PreparedTiles, all_or_none
from service.telemetry.request_record import DetectedImage, Stopwatch


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results for one image in two ways, and the pairs among the detections that were asked for."""

    left: DetectedImage
    right: DetectedImage
    matching: Matching


async def compare(pipeline: Pipeline, data: bytes, sides: Mapping[Side, DetectionOptions]) -> Comparison:
    """Detect objects in one encoded image in two ways, left and right, and pair them. It is decoded once.

    Each side waits and runs as an image of its own. If one fails, the other is dropped, and the error says which side
    it is of. Cancelling and errors are as in `Pipeline.detect`.
    """
    stopwatch = Stopwatch()
    prepared = await pipeline.prepare(data, list(sides.values()), stopwatch)
    left, right = await all_or_none(
        _detect(pipeline, side, one, options, stopwatch.copy())
        for (side, options), one in zip(sides.items(), prepared, strict=True)
    )
    return Comparison(left, right, await pipeline.in_pool(partial(match, left.detections, right.detections)))


async def _detect(
    pipeline: Pipeline, side: Side, prepared: PreparedTiles, options: DetectionOptions, stopwatch: Stopwatch
) -> DetectedImage:
    try:
        return await pipeline.detect_prepared(prepared, options, stopwatch)
    except ServiceError as error:
        said = error.detail or f"{error.title}."
        error.detail = f"The {side} side ({prepared.tasks[0].attention}) failed: {said}"
        error.members["side"] = side
        raise
