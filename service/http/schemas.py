"""The JSON of the responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from models.attention_config import AttentionConfig, Metric
from models.detections import AttentionReport, Detections
from models.masks.forms import Segmentation
from models.matching import Pair
from service.telemetry.request_record import DetectedImage

_DETECTION: Final = {
    "label": "figure",
    "score": 0.9812,
    "box": {"xmin": 12.1, "ymin": 3.0, "xmax": 240.7, "ymax": 199.9},
}
RESULT_EXAMPLE: Final[dict[str, Any]] = {
    "detections": [_DETECTION],
    "image": {"width": 640, "height": 480},
    "resized": {"width": 1066, "height": 800},
    "tiles": {"rows": 1, "columns": 1},
    "attention": {
        "mode": "act",
        "reason": "asked for",
        "L": 32,
        "r": 8.0,
        "seed": 0,
        "C": None,
        "ratio": None,
        "metric": "query",
        "tokens": 1900,
        "merged_tokens": None,
        "clusters": [{"layer": 0, "mean": 612.5, "min": 410, "max": 803}],
        "encoder_gflops": 31.2,
        "exact_encoder_gflops": 48.0,
    },
    "timing_ms": {
        "decode": 4.1,
        "preprocess": 6.0,
        "queue": 2.2,
        "inference": 31.7,
        "postprocess": 0.4,
        "total": 45.0,
    },
    "batch_size": 4,
    "rung": None,
    "model": "pages-small",
}
COMPARISON_EXAMPLE: Final[dict[str, Any]] = {
    "left": RESULT_EXAMPLE,
    "right": RESULT_EXAMPLE,
    "pairs": [{"left": 0, "right": 0, "iou": 0.981, "score_difference": -0.012}],
    "only_left": [],
    "only_right": [],
}


class Box(BaseModel):
    """Corners in pixels of the upright original image."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class Detection(BaseModel):
    """One object."""

    label: str
    score: float = Field(ge=0, le=1)
    box: Box


class RunsOfMask(BaseModel):
    """A mask as COCO's compressed run-length encoding, which pycocotools reads; `size` is [height, width]."""

    size: tuple[int, int]
    counts: str


class SegmentedDetection(Detection):
    """One object and its mask, in pixels of the upright original image, in the form that `masks` asked for.

    Polygons are lists [x, y, x, y, ...], one for each connected part.
    """

    segmentation: RunsOfMask | list[list[float]]


class ImageSize(BaseModel):
    """Pixels of the upright original image."""

    width: int
    height: int


class ResizedTo(BaseModel):
    """Pixels of what the model saw: of the image, or of each of its tiles, after resizing."""

    width: int
    height: int


class TileGrid(BaseModel):
    """How the image was cut: 1 x 1 is not at all."""

    rows: int
    columns: int


class Clusters(BaseModel):
    """Number of non-empty clusters in one encoder layer, over its heads; of tiles, the mean, the least and the most."""

    layer: int
    mean: float
    min: int
    max: int


class AttentionSettings(BaseModel):
    """How the encoder attended, and why."""

    mode: Literal["exact", "act", "tangent", "merge"]
    reason: str = Field(
        description="Why it attended so, for people: `asked for`, `the default of this service`, or `auto: ` and the "
        "measured times that decided; then, after a semicolon, the rung of the ladder if it is not 0."
    )
    L: int | None = Field(description="Hash rounds; null except with act.")
    r: float | None = Field(description="Bucket width; null except with act.")
    seed: int | None = Field(description="Seed of the hash planes; null except with act.")
    C: int | None = Field(
        description="Clusters per head; null except with tangent, and with merge where what is left is clustered."
    )
    ratio: float | None = Field(description="Share of the tokens that was to be merged; null except with merge.")
    metric: Metric | None = Field(description="Distance between two queries; null with exact and merge.")
    tokens: int = Field(description="Encoder tokens of the image, or of each of its tiles.")
    merged_tokens: int | None = Field(description="How many of them were left after merging; null except with merge.")

    @staticmethod
    def fields_of(
        config: AttentionConfig, reason: str, tokens: int, merged_tokens: int | None = None
    ) -> dict[str, Any]:
        """Return the fields for settings that were used for a reason; options of other modes are None."""
        options = dict.fromkeys(("L", "r", "seed", "C", "ratio", "metric"))
        options |= {name: value for name, value in config.options.items() if name in options}
        if config.C == 0:
            options["C"] = None
        return {"mode": config.mode, "reason": reason, **options, "tokens": tokens, "merged_tokens": merged_tokens}


class Attention(AttentionSettings):
    """How the encoder attended; giga multiply-adds of the encoder as run, and with exact attention, of all tiles."""

    clusters: list[Clusters]
    encoder_gflops: float
    exact_encoder_gflops: float

    @classmethod
    def of(cls, report: AttentionReport, reason: str) -> Self:
        """Convert the model's report of an image that attended so for a reason."""
        return cls(
            **cls.fields_of(report.config, reason, report.tokens, report.merged_tokens),
            clusters=[
                Clusters(layer=row.layer, mean=round(row.mean, 2), min=row.min, max=row.max) for row in report.clusters
            ],
            encoder_gflops=round(report.encoder_gflops, 4),
            exact_encoder_gflops=round(report.exact_encoder_gflops, 4),
        )


class Timing(BaseModel):
    """Milliseconds by stage; `total` counts from the request's headers to the response.

    Of several tiles, `queue` ends where the first begins to run, and `inference` where the last one is done.
    """

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


class DetectionResult(BaseModel):
    """The result for one image."""

    model_config = ConfigDict(json_schema_extra={"examples": [RESULT_EXAMPLE]})

    detections: list[SegmentedDetection | Detection]
    image: ImageSize
    resized: ResizedTo
    tiles: TileGrid
    attention: Attention
    timing_ms: Timing
    batch_size: int
    rung: int | None = Field(
        None,
        description="Rung of the ladder that makes images cheaper under load; 0 is as without load, null where the "
        "ladder has no say: without a target, for other attention than `auto`, and with `size` or `tiles`.",
    )
    model: str

    @classmethod
    def of(cls, image: DetectedImage, elapsed: float, model: str) -> Self:
        """Convert the result for an image, `elapsed` seconds after the headers of the request for it."""
        seconds = image.stopwatch.seconds | {"total": elapsed}
        return cls(
            detections=detection_rows(image.detections, image.masks),
            image=ImageSize(width=image.width, height=image.height),
            resized=ResizedTo(width=image.resized[1], height=image.resized[0]),
            tiles=TileGrid(rows=image.tiling.rows, columns=image.tiling.columns),
            attention=Attention.of(image.prediction.attention, image.reason),
            timing_ms=Timing(**{name: round(seconds[name] * 1e3, 3) for name in Timing.model_fields}),
            batch_size=image.batch_size,
            rung=image.rung,
            model=model,
        )


class Problem(BaseModel):
    """An error (RFC 9457). `type` identifies it and never changes; there may be further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None


class FailedImage(BaseModel):
    """A failed image of a batch."""

    error: Problem


class BatchResult(BaseModel):
    """The results for several images, in their order."""

    results: list[DetectionResult | FailedImage]


class MatchedPair(BaseModel):
    """A detection of the left side and one of the right side that are of the same object, by their indices.

    `score_difference` is the right score less the left one.
    """

    left: int
    right: int
    iou: float
    score_difference: float

    @classmethod
    def of(cls, pair: Pair) -> Self:
        """Convert a pair of detections, rounded to four decimals."""
        return cls(
            left=pair.left,
            right=pair.right,
            iou=round(pair.iou, 4),
            score_difference=round(pair.score_difference, 4),
        )


class ComparisonResult(BaseModel):
    """The results of both sides for one image, which detections are paired, and the indices of the others."""

    left: DetectionResult
    right: DetectionResult
    pairs: list[MatchedPair]
    only_left: list[int]
    only_right: list[int]


class Health(BaseModel):
    """`status` is ok."""

    status: str


def detection_rows(
    detections: Detections, masks: Sequence[Segmentation] | None = None
) -> list[SegmentedDetection | Detection]:
    """Return JSON rows, with boxes rounded to a hundredth of a pixel and scores to four decimals.

    `masks`, where they were asked for, are those of the detections.
    """
    rows: list[SegmentedDetection | Detection] = []
    for index, (label, score, (x0, y0, x1, y1)) in enumerate(detections):
        box = Box(xmin=round(x0, 2), ymin=round(y0, 2), xmax=round(x1, 2), ymax=round(y1, 2))
        row = Detection(label=label, score=round(score, 4), box=box)
        if masks is None:
            rows.append(row)
        else:
            mask: Any = masks[index]
            rows.append(SegmentedDetection(label=label, score=row.score, box=box, segmentation=mask))
    return rows
