"""The JSON of an explanation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.detector import Detector
from models.explanation import AttentionMap, Explanation
from service.explanation import ExplainedImage
from service.http.schemas import AttentionSettings, ImageSize, ResizedTo

DECIMALS: Final = 8
"""Of a weight: four digits of the mean one among 20 000 tokens."""

EXPLANATION_EXAMPLE: Final[dict[str, Any]] = {
    "image": {"width": 640, "height": 480},
    "resized": {"width": 128, "height": 96},
    "grid": {"rows": 3, "columns": 4},
    "layers": 6,
    "heads": 8,
    "layer": 0,
    "head": 3,
    "attention": {
        "mode": "act",
        "reason": "asked for",
        "L": 16,
        "r": 2.0,
        "seed": 0,
        "C": None,
        "ratio": None,
        "metric": "key",
        "tokens": 12,
        "merged_tokens": None,
    },
    "clusters": {"count": 3, "assignment": [0, 0, 0, 1, 0, 0, 2, 1, 0, 2, 2, 1]},
    "point": {"x": 200.0, "y": 100.0, "row": 0, "column": 1, "cluster": 0},
    "attention_map": {
        "exact": [0.2, 0.3, 0.1, 0.05, 0.1, 0.1, 0.05, 0.02, 0.03, 0.02, 0.02, 0.01],
        "approximate": [0.22, 0.25, 0.12, 0.05, 0.11, 0.1, 0.05, 0.02, 0.03, 0.02, 0.02, 0.01],
        "difference": 0.055,
    },
    "timing_ms": {
        "decode": 4.1,
        "preprocess": 6.0,
        "queue": 2.2,
        "inference": 21.7,
        "total": 35.0,
    },
    "model": "pages-small",
}


class TokenGrid(BaseModel):
    """Rows and columns of the encoder's tokens, which cover the image evenly."""

    rows: int
    columns: int


class ClusterMap(BaseModel):
    """The clusters of one layer and head; with merge, what was merged into one token, the same in all of them."""

    count: int = Field(
        description="How many clusters have a token: what `/detect` counts for this layer and head, or with "
        "merge its `merged_tokens`."
    )
    assignment: list[int] = Field(
        description="The index of the cluster of every token, row by row. Only whether two are equal means something; "
        "some indices may be of no token."
    )


class ExplainedPoint(BaseModel):
    """A point of the image in pixels, as asked for, and the token that covers it."""

    x: float
    y: float
    row: int
    column: int
    cluster: int | None = Field(description="The token's cluster; null for exact attention.")


class PointAttention(BaseModel):
    """How much the point's token attends to every token, row by row: weights that sum to 1."""

    exact: list[float]
    approximate: list[float] | None = Field(
        description="The weights that its value was really made with; null for exact attention. With tangent "
        "attention, and with merge that clusters what is left, some may be below 0."
    )
    difference: float | None = Field(
        description="Half the sum of the absolute differences of the two: 0 if they are equal, 1 if they have nothing "
        "in common; null for exact attention."
    )


class ExplanationTiming(BaseModel):
    """Milliseconds by stage; `total` counts from the request's headers to the response."""

    decode: float
    preprocess: float
    queue: float
    inference: float
    total: float


class ExplanationResult(BaseModel):
    """What one layer and head of the encoder did with an image."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXPLANATION_EXAMPLE]})

    image: ImageSize
    resized: ResizedTo
    grid: TokenGrid
    layers: int
    heads: int
    layer: int
    head: int
    attention: AttentionSettings
    clusters: ClusterMap | None = Field(description="Null for exact attention.")
    point: ExplainedPoint | None = Field(description="Null unless `x` and `y` were given.")
    attention_map: PointAttention | None = Field(description="Of the point; null without one.")
    timing_ms: ExplanationTiming
    model: str

    @classmethod
    def of(cls, explained: ExplainedImage, detector: Detector, seconds: Mapping[str, float]) -> Self:
        """Convert an explanation that a detector gave, and the request's seconds by stage."""
        explanation, task = explained.explanation, explained.task
        rows, columns = explanation.grid
        return cls(
            image=ImageSize(width=task.image.original_width, height=task.image.original_height),
            resized=ResizedTo(width=task.image.pixels.shape[2], height=task.image.pixels.shape[1]),
            grid=TokenGrid(rows=rows, columns=columns),
            layers=detector.config.encoder_layers,
            heads=detector.config.heads,
            layer=explanation.layer,
            head=explanation.head,
            attention=_attention(explained),
            clusters=_clusters(explanation),
            point=_point(task.point, explanation),
            attention_map=_attention_map(explanation.attention_map),
            timing_ms=ExplanationTiming(
                **{name: round(seconds[name] * 1e3, 3) for name in ExplanationTiming.model_fields}
            ),
            model=detector.name,
        )


def _attention(explained: ExplainedImage) -> AttentionSettings:
    explanation, task = explained.explanation, explained.task
    merged = explanation.cluster_count if task.attention.mode == "merge" else None
    tokens = math.prod(explanation.grid)
    return AttentionSettings(**AttentionSettings.fields_of(task.attention, task.reason, tokens, merged))


def _clusters(explanation: Explanation) -> ClusterMap | None:
    if explanation.clusters is None:
        return None
    return ClusterMap(count=explanation.cluster_count, assignment=explanation.clusters.flatten().tolist())


def _point(point: tuple[float, float] | None, explanation: Explanation) -> ExplainedPoint | None:
    attended, clusters = explanation.attention_map, explanation.clusters
    if point is None or attended is None:
        return None
    cell = attended.row, attended.column
    cluster = None if clusters is None else int(clusters[cell])
    return ExplainedPoint(x=point[0], y=point[1], row=cell[0], column=cell[1], cluster=cluster)


def _attention_map(attended: AttentionMap | None) -> PointAttention | None:
    if attended is None:
        return None
    approximate, difference = attended.approximate, attended.difference
    return PointAttention(
        exact=_listed(attended.exact),
        approximate=None if approximate is None else _listed(approximate),
        difference=None if difference is None else round(difference, 4),
    )


def _listed(weights: NDArray[np.float32]) -> list[float]:
    listed: list[float] = weights.astype(np.float64).round(DECIMALS).flatten().tolist()
    return listed
