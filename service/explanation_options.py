"""The options of an explanation: what a caller may ask for, resolved against the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from models.explanation import refusal
from service.detection_options import (
    AttentionQuery,
    DetectionDefaults,
    DetectionOptions,
    DetectQuery,
    EncoderQuery,
    resolve_options,
)
from service.errors import BadParameter

if TYPE_CHECKING:
    from models.detector import Detector

View = Literal["clusters", "exact", "approximate"]
MAX_COORDINATE: Final = 1_000_000
"""Pixels; far beyond any image that is taken."""


class ExplainQuery(EncoderQuery, AttentionQuery):
    """The query parameters of an explanation."""

    layer: int = Field(0, ge=0, le=1000, description="Encoder layer, counted from 0.")
    head: int = Field(0, ge=0, le=1000, description="Attention head, counted from 0.")
    x: float | None = Field(
        None,
        ge=0,
        le=MAX_COORDINATE,
        allow_inf_nan=False,
        description="Column of the point whose attention is asked for, in pixels of the upright original image. Only "
        "with `y`. Default: no point.",
    )
    y: float | None = Field(
        None, ge=0, le=MAX_COORDINATE, allow_inf_nan=False, description="Its row, in the same pixels. Only with `x`."
    )
    view: View | None = Field(
        None,
        description="What a picture shows: `clusters`, or the attention of the point, `exact` or `approximate`. "
        "Default: without a point `clusters`, with one `approximate`, or `exact` if attention was exact.",
    )


@dataclass(frozen=True, slots=True)
class ExplanationOptions:
    """The resolved options of one request: how the image runs, what is looked at, and what a picture shows."""

    run: DetectionOptions
    layer: int
    head: int
    point: tuple[float, float] | None
    view: View | None


def resolve_explanation(
    query: ExplainQuery, defaults: DetectionDefaults, detector: Detector, arrival: float
) -> ExplanationOptions:
    """Return the query's options; the deadline counts from `arrival`.

    Raises BadParameter for what `resolve_options` refuses, a layer, head or view that is not there, half a point, and a
    model that cannot be explained.
    """
    why_not = refusal(detector)
    if why_not is not None:
        raise BadParameter(why_not)
    of_the_run = EncoderQuery.model_fields.keys() | AttentionQuery.model_fields.keys()
    run = resolve_options(DetectQuery(**query.model_dump(include=of_the_run)), defaults, arrival)
    run = replace(run, may_be_cheaper=False)  # it shows what a detection does, not what load makes of it
    for name, count in (("layer", detector.config.encoder_layers), ("head", detector.config.heads)):
        if getattr(query, name) >= count:
            raise BadParameter(
                f"{name}: must be between 0 and {count - 1} here, not {getattr(query, name)}", parameter=name
            )
    if (query.x is None) != (query.y is None):
        missing = "x" if query.x is None else "y"
        raise BadParameter(f"{missing}: is missing; a point has both x and y", parameter=missing)
    point = None if query.x is None or query.y is None else (query.x, query.y)
    if query.view in ("exact", "approximate") and point is None:
        raise BadParameter(f"view: {query.view} shows the attention of a point; give x and y", parameter="view")
    return ExplanationOptions(run, query.layer, query.head, point, query.view)
