"""What callers may ask and what they are told: the request's query and the answers' JSON."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from models.detections import AttentionReport, Detections

AttentionChoice = Literal["exact", "act", "tangent", "auto"]

_DETECTION: Final = {
    "label": "figure",
    "score": 0.9812,
    "box": {"xmin": 12.1, "ymin": 3.0, "xmax": 240.7, "ymax": 199.9},
}
RESULT_EXAMPLE: Final[dict[str, Any]] = {
    "detections": [_DETECTION],
    "image": {"width": 640, "height": 480},
    "attention": {
        "mode": "act",
        "L": 32,
        "r": 8.0,
        "seed": 0,
        "C": None,
        "centres": None,
        "tokens": 1900,
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
    "model": "pages-small",
}


class DetectQuery(BaseModel):
    """The query parameters of a detection. A parameter that is not here is refused: it is a typing error."""

    model_config = ConfigDict(extra="forbid")

    attention: AttentionChoice | None = Field(
        None, description="Encoder attention; `auto` takes tangent attention for large images. Default: see /model."
    )
    L: int | None = Field(None, ge=1, le=64, description="Hash rounds; with `attention=act` alone.")
    r: float | None = Field(None, gt=0, allow_inf_nan=False, description="Bucket width; with `attention=act` alone.")
    C: int | None = Field(None, ge=1, le=4096, description="Clusters a head; with `attention=tangent` alone.")
    centres: int | None = Field(
        None,
        ge=0,
        le=4096,
        description="Points, at most C, at which tangents are taken; with `attention=tangent` alone. Default: all C.",
    )
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Least score of a detection.")
    max_detections: int | None = Field(None, ge=1, le=1_000_000, description="Most detections, best first.")
    nms: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Drop a detection whose IoU with a better one of its class is greater; 1 drops none.",
    )
    labels: list[str] = Field(
        [],
        description="Names of the classes to keep, comma-separated or repeated; one that has a comma itself is "
        "written as it is. Default: all.",
    )
    deadline_ms: float | None = Field(
        None,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="Answer 504 instead of starting later than this after the request's arrival.",
    )


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


class ImageSize(BaseModel):
    """Pixels of the upright original image."""

    width: int
    height: int


class Clusters(BaseModel):
    """Clusters C of one encoder layer, those with a member, over its heads."""

    layer: int
    mean: float
    min: int
    max: int


class Attention(BaseModel):
    """How the encoder attended, and giga multiply-adds of the encoder: as run, and had it been exact."""

    mode: Literal["exact", "act", "tangent"]
    L: int | None = Field(description="Hash rounds; null except for act.")
    r: float | None = Field(description="Bucket width; null except for act.")
    seed: int | None = Field(description="Seed of the hash planes; null except for act.")
    C: int | None = Field(description="Clusters a head; null except for tangent.")
    centres: int | None = Field(description="Points at which tangents are taken; null except for tangent.")
    tokens: int
    clusters: list[Clusters]
    encoder_gflops: float
    exact_encoder_gflops: float

    @classmethod
    def of(cls, report: AttentionReport) -> Self:
        """Take over the model's report."""
        config = report.config
        options = dict.fromkeys(("L", "r", "seed", "C", "centres"))
        options |= {name: value for name, value in config.options.items() if name in options}
        if config.mode == "tangent" and config.centres is None:
            options["centres"] = config.C
        return cls(
            mode=config.mode,
            **options,
            tokens=report.tokens,
            clusters=[
                Clusters(layer=row.layer, mean=round(row.mean, 2), min=row.min, max=row.max) for row in report.clusters
            ],
            encoder_gflops=round(report.encoder_gflops, 4),
            exact_encoder_gflops=round(report.exact_encoder_gflops, 4),
        )


class Timing(BaseModel):
    """Milliseconds by stage; total is from the request's headers to the answer."""

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


class DetectionResult(BaseModel):
    """The answer for one image."""

    model_config = ConfigDict(json_schema_extra={"examples": [RESULT_EXAMPLE]})

    detections: list[Detection]
    image: ImageSize
    attention: Attention
    timing_ms: Timing
    batch_size: int
    model: str


class Problem(BaseModel):
    """An error (RFC 9457). `type` names the cause and never changes; more members may follow."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None


class FailedImage(BaseModel):
    """An image of a batch that failed, alone."""

    error: Problem


class BatchResult(BaseModel):
    """The answers for several images, in their order."""

    results: list[DetectionResult | FailedImage]


class AttentionDefaults(BaseModel):
    """What a request gets that does not choose."""

    mode: AttentionChoice
    L: int
    r: float
    C: int


class InputSize(BaseModel):
    """Images are resized to this shortest side, unless the longest would exceed its limit. Pixels."""

    shortest_side: int
    longest_side: int


class Limits(BaseModel):
    """What is refused."""

    max_bytes: int
    max_pixels: int
    max_batch_parts: int
    max_batch_bytes: int
    max_queue: int
    max_inflight: int


class ModelCard(BaseModel):
    """The model that is served, its classes, and what requests get by default.

    `box_refinement`: whether it looks again, at fine features, for the sides of the boxes that its DETR found.
    """

    name: str
    version: str
    labels: list[str]
    device: str
    precision: str
    parameters: int
    box_refinement: bool
    attention_modes: list[AttentionChoice]
    default_attention: AttentionDefaults
    default_threshold: float
    default_max_detections: int
    default_nms: float | None
    default_deadline_ms: float
    input_size: InputSize
    limits: Limits
    image_types: list[str]


class Health(BaseModel):
    """`status` is ok, or the reason why not."""

    status: str


def detection_rows(detections: Detections) -> list[Detection]:
    """Boxes to a hundredth of a pixel, scores to four decimals."""
    return [
        Detection(
            label=label,
            score=round(score, 4),
            box=Box(xmin=round(x0, 2), ymin=round(y0, 2), xmax=round(x1, 2), ymax=round(y1, 2)),
        )
        for label, score, (x0, y0, x1, y1) in detections
    ]
