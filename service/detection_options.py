"""The options of a detection: what a caller may ask for, the defaults, and the two resolved."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from models.attention_config import MAX_MERGE_RATIO, AttentionConfig, Metric
from models.config import DetrConfig
from models.masks.forms import MaskForm
from models.tiles.tiling import Tiles, parse_tiles
from service.errors import BadParameter

if TYPE_CHECKING:
    from models.detections import Detections
    from models.detector import Detector
    from service.settings import Settings

AttentionChoice = Literal["exact", "act", "tangent", "merge", "auto"]
MODES_OF_OPTION: Final[dict[str, tuple[AttentionChoice, ...]]] = {
    "L": ("act",),
    "r": ("act",),
    "C": ("tangent", "merge"),
    "ratio": ("merge",),
    "metric": ("act", "tangent"),
}
APPROXIMATE: Final[tuple[Literal["act", "tangent", "merge"], ...]] = ("act", "tangent", "merge")
"""Attention modes that do not apply to every model."""


class EncoderQuery(BaseModel):
    """The query parameters of all requests that run an image. Unknown ones are refused: they are misspelt."""

    model_config = ConfigDict(extra="forbid")

    L: int | None = Field(None, ge=1, le=64, description="Hash rounds; only with `attention=act`.")
    r: float | None = Field(None, gt=0, allow_inf_nan=False, description="Bucket width; only with `attention=act`.")
    C: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Clusters per head; only with `attention=tangent` or `attention=merge`, where the tokens that are "
        "left attend exactly without it.",
    )
    ratio: float | None = Field(
        None,
        ge=0,
        le=MAX_MERGE_RATIO,
        allow_inf_nan=False,
        description="Share of the encoder's tokens that is merged into neighbours like them; only with "
        "`attention=merge`.",
    )
    metric: Metric | None = Field(
        None,
        description="Distance between two queries: `query` is Euclidean, as published; `key` is the root mean square "
        "difference of their logits over the keys. `r` is in its units. Only with `attention=act` or "
        "`attention=tangent`. Default: for ACT `query` where `r` is given, else the model's; for tangent `key`.",
    )
    size: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Shortest side in pixels that the image is resized to, in the range that `/model` shows: larger "
        "finds smaller objects, and takes longer. Default: the model's own.",
    )
    deadline_ms: float | None = Field(
        None,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        description="Maximum time from the request's arrival until inference starts. After it, the answer is 504.",
    )

    @property
    def attention_options(self) -> dict[str, Any]:
        """The options of the attention that are given, by name."""
        return {name: value for name in MODES_OF_OPTION if (value := getattr(self, name)) is not None}


class ImageQuery(EncoderQuery):
    """The query parameters of all requests that detect."""

    tiles: str | None = Field(
        None,
        max_length=9,
        pattern=r"^(auto|[1-9]\d{0,3}x[1-9]\d{0,3})$",
        description="Cut a long or huge image into tiles that overlap, and put together what is found in them: "
        "`ROWSxCOLUMNS`, or `auto` for as many as make none too long or too large for the model. Default: not cut.",
    )
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Minimum score of a detection.")
    max_detections: int | None = Field(
        None, ge=1, le=1_000_000, description="Maximum number of detections; those with the highest scores are kept."
    )
    nms: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Non-maximum suppression: drop a detection whose IoU with a better one of its class is greater "
        "than this. 1 drops none.",
    )
    labels: list[str] = Field(
        [],
        description="Classes to keep, comma-separated or repeated. A class name that contains a comma is written "
        "as it is. Default: all.",
    )


class AttentionQuery(BaseModel):
    """The query parameter of requests with one attention mode."""

    attention: AttentionChoice | None = Field(
        None,
        description="Encoder attention mode; `auto` uses the one that was measured to be the fastest for the image's "
        "size, of those that are about as accurate as exact attention. Default: see `/model`.",
    )


class DetectQuery(ImageQuery, AttentionQuery):
    """The query parameters of a detection request."""

    masks: MaskForm | None = Field(
        None,
        description="Give the mask of each detection too, in COCO's form: `rle` (compressed runs) or `polygons`. Only "
        "models for segmentation have masks: see `/model`. Not with `tiles`. Default: boxes only.",
    )


@dataclass(frozen=True, slots=True)
class DetectionDefaults:
    """The options of requests that do not set them, and what the model and the settings allow.

    `sizes` are the least and the largest `size`; `labels` are the class names that the model knows. `refusals` say why
    attention modes do not apply to the model, by mode; where that of the settings does not, the default is `exact`.
    `mask_refusal` says why the model gives no masks; None where it gives them.
    """

    attention: AttentionChoice
    L: int
    r: float
    metric: Metric
    C: int
    ratio: float
    size: int
    sizes: tuple[int, int]
    max_tiles: int
    threshold: float
    max_detections: int
    nms: float | None
    deadline_ms: float
    labels: tuple[str, ...]
    refusals: Mapping[AttentionChoice, str] = field(default_factory=dict)
    mask_refusal: str | None = None

    @classmethod
    def of(cls, settings: Settings, detector: Detector) -> Self:
        """Take what the settings say, and the model's own values where they say nothing."""
        config = detector.config
        given = {"L": settings.l, "r": settings.r}
        act = config.default_act.with_options(**{name: value for name, value in given.items() if value is not None})
        refusals: dict[AttentionChoice, str] = {
            mode: why for mode in APPROXIMATE if (why := detector.family.refusal(mode)) is not None
        }
        return cls(
            attention="exact" if settings.attention in refusals else settings.attention,
            L=act.L,
            r=act.r,
            metric=act.metric,
            C=settings.c or config.tangent_C,
            ratio=config.merge_ratio if settings.ratio is None else settings.ratio,
            size=config.shortest_side,
            sizes=_sizes(config, settings.max_size),
            max_tiles=settings.max_tiles,
            threshold=settings.threshold,
            max_detections=settings.max_detections,
            nms=config.nms if settings.nms is None else settings.nms,
            deadline_ms=settings.deadline_ms,
            labels=tuple(detector.labels),
            refusals=refusals,
            mask_refusal=detector.mask_refusal,
        )

    def require(self, mode: AttentionChoice, parameter: str) -> None:
        """Refuse a mode that does not apply to the model, which a parameter asks for. Raises BadParameter."""
        if mode in self.refusals:
            raise BadParameter(f"{parameter}: {self.refusals[mode]}; use exact or auto", parameter=parameter)

    def allowed_size(self, size: int, parameter: str) -> int:
        """Return a size that a parameter asks for, in pixels. Raises BadParameter if the model does not take it."""
        least, largest = self.sizes
        if not least <= size <= largest:
            allowed = f"between {least} and {largest}" if least < largest else f"{least}"
            raise BadParameter(f"{parameter}: must be {allowed} pixels here, not {size}", parameter=parameter)
        return size

    def attention_config(self, mode: AttentionChoice, given: Mapping[str, Any]) -> AttentionConfig | None:
        """Return the settings of a mode with the options that a request gives; None for `auto`. Raises ValueError."""
        if mode == "auto":
            return None
        if mode == "act":
            return AttentionConfig.act(self.L, self.r, metric=self.metric).with_options(**given)
        if mode == "tangent":
            return AttentionConfig.tangent(self.C).with_options(**given)
        if mode == "merge":
            return AttentionConfig.merge(self.ratio).with_options(**given)
        return AttentionConfig.exact()


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """The resolved options of one request.

    `attention` None is `auto`; of any other, `reason` says where it comes from. `size` is the shortest side in pixels.
    `tiles` None cuts nothing, `auto` into `max_tiles` at most. `labels` None keeps all classes, `nms` None all
    overlapping boxes. `masks` None gives boxes only. `deadline` is on the service's clock. `may_be_cheaper`: the caller
    leaves attention, size and tiles to the service, which may choose cheaper ones under load.
    """

    attention: AttentionConfig | None
    reason: str
    size: int
    tiles: Tiles | None
    max_tiles: int
    threshold: float
    max_detections: int
    nms: float | None
    labels: frozenset[str] | None
    masks: MaskForm | None
    deadline: float
    may_be_cheaper: bool = False

    def select(self, detections: Detections) -> Detections:
        """Return those detections that the request asked for."""
        return detections.select(self.threshold, self.max_detections, self.labels, self.nms)


def resolve_options(query: DetectQuery, defaults: DetectionDefaults, arrival: float) -> DetectionOptions:
    """Return the query's options, with defaults filled in; the deadline counts from `arrival`.

    Raises BadParameter for combinations that have no meaning, attention and masks that the model does not have, and
    unknown classes.
    """
    deadline_ms = defaults.deadline_ms if query.deadline_ms is None else query.deadline_ms
    attention = _attention(query, defaults)
    return DetectionOptions(
        attention=attention,
        reason="the default of this service" if query.attention is None else "asked for",
        size=defaults.size if query.size is None else defaults.allowed_size(query.size, "size"),
        tiles=_tiles(query.tiles, defaults.max_tiles),
        max_tiles=defaults.max_tiles,
        threshold=defaults.threshold if query.threshold is None else query.threshold,
        max_detections=query.max_detections or defaults.max_detections,
        nms=defaults.nms if query.nms is None else query.nms,
        labels=_labels(query.labels, defaults.labels),
        masks=_masks(query, defaults),
        deadline=arrival + deadline_ms / 1e3,
        may_be_cheaper=attention is None and query.size is None and query.tiles is None,
    )


def _attention(query: DetectQuery, defaults: DetectionDefaults) -> AttentionConfig | None:
    mode = query.attention or defaults.attention
    defaults.require(mode, "attention")
    given = query.attention_options
    misplaced = [name for name in given if mode not in MODES_OF_OPTION[name]]
    if misplaced:
        needed = MODES_OF_OPTION[misplaced[0]]
        names = [f"`{name}`" for name in misplaced if MODES_OF_OPTION[name] == needed]
        raise BadParameter(
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} only valid with attention="
            f"{' or attention='.join(needed)}; this request uses {mode}",
            parameter=misplaced[0],
        )
    try:
        return defaults.attention_config(mode, given)
    except ValueError as error:
        raise BadParameter(str(error), parameter=next(iter(given), "attention")) from error


def _sizes(config: DetrConfig, max_size: int | None) -> tuple[int, int]:
    """Return the least and the largest size: those of the model, as far as the setting allows more than its own."""
    least, largest = config.sides
    return least, largest if max_size is None else max(config.shortest_side, min(largest, max_size))


def _tiles(requested: str | None, max_tiles: int) -> Tiles | None:
    tiles = None if requested is None else parse_tiles(requested)
    if isinstance(tiles, tuple) and tiles[0] * tiles[1] > max_tiles:
        raise BadParameter(
            f"tiles: {requested} are {tiles[0] * tiles[1]} tiles; {max_tiles} are allowed", parameter="tiles"
        )
    return tiles


def _masks(query: DetectQuery, defaults: DetectionDefaults) -> MaskForm | None:
    if query.masks is None:
        return None
    if defaults.mask_refusal is not None:
        raise BadParameter(f"masks: {defaults.mask_refusal}", parameter="masks")
    if query.tiles is not None:
        raise BadParameter(
            "masks: cannot be combined with tiles, as parts of a mask from several tiles are not joined",
            parameter="masks",
        )
    return query.masks


def _labels(requested: list[str], known: tuple[str, ...]) -> frozenset[str] | None:
    """Return the classes to keep, as the model spells them; accents may be composed or not. None: all."""
    spelling = {unicodedata.normalize("NFC", name).strip(): name for name in known}
    names = [name for value in requested for name in _split(unicodedata.normalize("NFC", value), spelling)]
    if not all(names):
        raise BadParameter("labels: a name is empty", parameter="labels")
    unknown = [name for name in names if name not in spelling]
    if unknown:
        raise BadParameter(
            f"labels: the model has no class {unknown[0][:100]!r}; its classes are {', '.join(known)}",
            parameter="labels",
        )
    return frozenset(spelling[name] for name in names) if names else None


def _split(value: str, known: Collection[str]) -> Iterator[str]:
    """Yield comma-separated names; of known names that contain commas, the longest match counts."""
    parts = value.split(",")
    max_parts = max((name.count(",") for name in known), default=0) + 1
    start = 0
    while start < len(parts):
        candidates = (",".join(parts[start : start + length]).strip() for length in range(max_parts, 1, -1))
        name = next((candidate for candidate in candidates if candidate in known), parts[start].strip())
        yield name
        start += 1 + name.count(",")
