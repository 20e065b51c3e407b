"""Configuration of a model: frozen, typed, validated when made."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final, Literal

from models.attention_config import (
    ACT_DEFAULTS,
    MAX_MERGE_RATIO,
    METRICS,
    AttentionConfig,
    AttentionMode,
    Metric,
    mode_and_options,
)
from models.resizing import Resizing


@dataclass(frozen=True, slots=True)
class BackboneConfig:
    """A ResNet without its classifier.

    `blocks` counts the residual blocks of each stage; the first stage has stride 4 and every later one doubles
    it. `width` is the channels of the stem (64 as published). `dilation` keeps the last stage at its
    predecessor's stride (DC5). `entry_channels` above 0 are those of a convolution of stride 2 before the stem, which
    doubles every stride: `models.training.doubled` makes such models. Raises ValueError where there are no blocks or no
    channels.
    """

    block: Literal["basic", "bottleneck"]
    blocks: tuple[int, ...]
    width: int = 64
    dilation: bool = False
    entry_channels: int = 0

    def __post_init__(self) -> None:
        if min(self.blocks, default=0) < 1 or self.width < 1:
            raise ValueError(f"blocks {self.blocks} and width {self.width} must be numbers above 0, of a stage or more")
        if self.entry_channels < 0:
            raise ValueError(f"entry_channels must be 0 or above, not {self.entry_channels}")

    @property
    def stride(self) -> int:
        """Pixels of the image per position of the feature map, on either axis."""
        return int(4 * 2 ** (len(self.blocks) - 1 - int(self.dilation) + int(self.entry_channels > 0)))

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return int(self.width * 2 ** (len(self.blocks) - 1) * (4 if self.block == "bottleneck" else 1))


@dataclass(frozen=True, slots=True)
class NamedBackbone:
    """A backbone that is not ours: the engine that runs the model makes it.

    `stride` and `channels` are those of the feature map that the encoder attends over.
    """

    name: str
    stride: int
    channels: int


class _OwnInFiles:
    """Tells pydantic that a file of ours only ever holds a backbone of ours."""

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        return handler.generate_schema(BackboneConfig)


RESNET50: Final = BackboneConfig("bottleneck", (3, 4, 6, 3))
RESNET50_DC5: Final = BackboneConfig("bottleneck", (3, 4, 6, 3), dilation=True)
RESNET101: Final = BackboneConfig("bottleneck", (3, 4, 23, 3))
RESNET101_DC5: Final = BackboneConfig("bottleneck", (3, 4, 23, 3), dilation=True)

ENTRY_CHANNELS: Final = 16
"""Channels of a doubled model's entry convolution."""


@dataclass(frozen=True, slots=True)
class BoxRefinementConfig:
    """Settings of `models.detr.box_refinement`, which moves sides of boxes to where the image has them.

    `reaches` has an entry a stage: how far a side may move either way, as a share of the box's extent in that
    direction and, on top, in pixels of the resized image. Features are read at `bins` positions across a side and
    `bins_along` along it, from `fine_channels` at half the image's resolution and `coarse_channels` at a quarter.
    `hidden_dim` is the width of a stage. Boxes of queries whose probability of an object is below `least_score` stay as
    they are. Raises ValueError for values that make no refinement.
    """

    reaches: tuple[tuple[float, float], ...] = ((0.25, 4.0), (0.1, 2.0))
    bins: int = 24
    bins_along: int = 4
    fine_channels: int = 16
    coarse_channels: int = 32
    hidden_dim: int = 64
    least_score: float = 0.02

    def __post_init__(self) -> None:
        if not self.reaches or any(share < 0 or pixels <= 0 for share, pixels in self.reaches):
            raise ValueError(f"reaches {self.reaches} must be one a stage, of a share from 0 and pixels above 0")
        if self.bins < 2 or min(self.bins_along, self.fine_channels, self.coarse_channels, self.hidden_dim) < 1:
            raise ValueError("a box refinement needs at least two bins across a side, and one of all else")
        if not 0 <= self.least_score <= 1:
            raise ValueError(f"least_score {self.least_score} must be in 0..1")

    def doubled(self) -> BoxRefinementConfig:
        """The same in images of twice the size: what were the fine channels are coarse ones there."""
        reaches = tuple((share, 2 * pixels) for share, pixels in self.reaches)
        return replace(self, reaches=reaches, coarse_channels=self.fine_channels + self.coarse_channels)


VOUCHED_MODES: Final[tuple[AttentionMode, ...]] = ("act", "tangent", "merge")
"""What `auto` may choose from, beside exact attention."""


@dataclass(frozen=True, slots=True)
class VouchedAttention:
    """Approximate attention whose accuracy an evaluation of a model has measured: `auto` may choose it.

    `setting` is what `AttentionConfig.parse` reads, of mode act, tangent or merge (`tangent:C=16`). `ap_lost` is exact
    attention's AP less this one's on the same images, AP in 0..1: below 0 where it was higher. `cluster_ratio`, above 0
    and at most 1, is the mean C/N of layers, heads and images, with merging M/N: ACT's cost depends on it. Raises
    ValueError.
    """

    setting: str
    ap_lost: float
    cluster_ratio: float

    def __post_init__(self) -> None:
        if self.attention.mode not in VOUCHED_MODES:
            raise ValueError(f"vouched attention must be of mode act, tangent or merge, not {self.setting!r}")
        if not -1 <= self.ap_lost <= 1:
            raise ValueError(f"ap_lost {self.ap_lost} must be in -1..1")
        if not 0 < self.cluster_ratio <= 1:
            raise ValueError(f"cluster_ratio {self.cluster_ratio} must be above 0 and at most 1")

    @property
    def attention(self) -> AttentionConfig:
        """The settings."""
        return AttentionConfig.parse(self.setting)


COUNTS: Final = (
    *("hidden_dim", "heads", "encoder_layers", "decoder_layers", "feedforward_dim", "queries"),
    *("act_L", "tangent_C", "shortest_side", "longest_side"),
)
"""Fields of a DetrConfig that are whole numbers above 0."""


@dataclass(frozen=True, slots=True)
class DetrConfig:
    """Everything that fixes a DETR's shapes and what its outputs mean.

    `labels[i]` names the class of logit i; None marks an id that the data set does not use. One more logit,
    the last, is no-object. Sizes are pixels: images are resized so that the shortest side is `shortest_side`
    unless the longest would then exceed `longest_side`. `trained_sides` are the least and the largest shortest side of
    the images that it was trained with, None where they are not known. `mean` and `std` normalise RGB in 0..1.
    `norm_between_decoder_layers` is what transformers computes for its `auxiliary_loss`. `act_L`, `act_r` and
    `act_metric` are the default ACT setting: the published one, that of `untuned`, or the one that a model's evaluation
    recommends; `tangent_C` and `merge_ratio` are the same for tangent attention and token merging. `vouched` is the
    approximate attention that the model's evaluation found to be as accurate as exact attention
    (`models.evaluation.vouching`): `auto` chooses from it. `nms`, above 0 and at most 1, is the recommended IoU limit
    of `Detections.select`; None where the model gives every object one box. `box_refinement` is None for a plain DETR.
    `backbone` is a NamedBackbone where another engine runs the model (`models.networks`); `hidden_dim`, `heads`,
    `encoder_layers` and `feedforward_dim` then are those of the layers that attend. `resizing` is None where images
    are resized as published, and never padded. Raises ValueError for values that make no model.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}  # of JSON, all through

    name: str
    labels: tuple[str | None, ...]
    backbone: Annotated[BackboneConfig | NamedBackbone, _OwnInFiles()] = RESNET50
    hidden_dim: int = 256
    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 2048
    queries: int = 100
    pre_norm: bool = False
    norm_between_decoder_layers: bool = False
    act_L: int = 32
    act_r: float = 8.0
    act_metric: Metric = "query"
    tangent_C: int = 32
    merge_ratio: float = 0.5
    vouched: tuple[VouchedAttention, ...] = ()
    nms: float | None = None
    box_refinement: BoxRefinementConfig | None = None
    shortest_side: int = 800
    longest_side: int = 1333
    trained_sides: tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resizing: Resizing | None = None

    def __post_init__(self) -> None:
        composed = tuple(None if label is None else unicodedata.normalize("NFC", label) for label in self.labels)
        object.__setattr__(self, "labels", composed)  # classes meet by name: an accent has one form
        if not self.labels:
            raise ValueError("labels must name at least one class")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.act_metric not in METRICS:
            raise ValueError(f"act_metric must be one of {', '.join(METRICS)}, not {self.act_metric!r}")
        if not 0 <= self.merge_ratio <= MAX_MERGE_RATIO:
            raise ValueError(f"merge_ratio must be between 0 and {MAX_MERGE_RATIO}, not {self.merge_ratio}")
        if self.hidden_dim % self.heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} does not divide into {self.heads} heads")
        if self.hidden_dim % 4:
            raise ValueError(f"hidden_dim {self.hidden_dim} must divide by 4: sines and cosines of two axes")
        if len({one.attention for one in self.vouched}) < len(self.vouched):
            raise ValueError("vouched names the same attention twice")
        if self.nms is not None and not 0 < self.nms <= 1:
            raise ValueError(f"nms {self.nms} must be above 0 and at most 1")
        if self.trained_sides is not None and not 1 <= self.trained_sides[0] <= self.trained_sides[1]:
            raise ValueError(f"trained_sides {self.trained_sides} must be the least and the largest, from 1 on")

    @property
    def resnet(self) -> BackboneConfig:
        """The backbone, where it is ours. Raises ValueError for a model that another engine runs."""
        if isinstance(self.backbone, NamedBackbone):
            raise ValueError(f"{self.name} has the backbone {self.backbone.name}, which only another engine can run")
        return self.backbone

    @property
    def sides(self) -> tuple[int, int]:
        """The least and the largest shortest side that images may be resized to: as in training, or the model's own.

        Where images are resized by another rule than their sides, only its own.
        """
        own = self.shortest_side
        if self.trained_sides is None or (self.resizing is not None and self.resizing.rule != "sides"):
            return own, own
        return min(self.trained_sides[0], own), max(self.trained_sides[1], own)

    def resized_to(self, shortest_side: int) -> DetrConfig:
        """The same with images of another shortest side, in pixels; the longest keeps its proportion to it."""
        if shortest_side == self.shortest_side:
            return self
        longest_side = round(shortest_side * self.longest_side / self.shortest_side)
        return replace(self, shortest_side=shortest_side, longest_side=longest_side)

    def doubled(self) -> DetrConfig:
        """The model for images of twice the size and four times as many tokens: `models.training.doubled` has why.

        Nothing is vouched for any more, and no size is known from training. Raises ValueError for a model whose last
        stage is dilated, that has an entry convolution already, or that brings images to a size of its own.
        """
        backbone = self.resnet
        if backbone.dilation or backbone.entry_channels or len(backbone.blocks) < 2:
            raise ValueError(f"{self.name} cannot be doubled: its backbone has an entry, dilation or only one stage")
        if self.resizing is not None:
            raise ValueError(f"{self.name} cannot be doubled: it does not resize images by their sides")
        return replace(
            self,
            backbone=replace(backbone, dilation=True, entry_channels=ENTRY_CHANNELS),
            shortest_side=2 * self.shortest_side,
            longest_side=2 * self.longest_side,
            box_refinement=self.box_refinement and self.box_refinement.doubled(),
            trained_sides=None,
            vouched=(),
        )

    @property
    def default_act(self) -> AttentionConfig:
        """ACT with the model's own L and r."""
        return AttentionConfig.act(self.act_L, self.act_r, metric=self.act_metric)

    @property
    def default_tangent(self) -> AttentionConfig:
        """Tangent attention with the model's own C."""
        return AttentionConfig.tangent(self.tangent_C)

    @property
    def default_merge(self) -> AttentionConfig:
        """Token merging with the model's own ratio."""
        return AttentionConfig.merge(self.merge_ratio)

    @property
    def default_attentions(self) -> tuple[AttentionConfig, ...]:
        """Exact attention, then each other that requests may ask for by its name alone."""
        return AttentionConfig.exact(), self.default_tangent, self.default_merge, self.default_act

    def attention(self, text: str) -> AttentionConfig:
        """Read what `AttentionConfig.parse` reads; an L, r, C or ratio that the text leaves open is the model's own.

        So `act`, `tangent` and `merge` mean on the command line what they mean in a request: see `with_options`. Raises
        ValueError.
        """
        mode, options = mode_and_options(text)
        own = {"act": self.default_act, "tangent": self.default_tangent, "merge": self.default_merge}
        return own.get(mode, AttentionConfig.parse(mode)).with_options(**options)

    def untuned(self) -> DetrConfig:
        """The same with the ACT setting for models that nobody has tuned, whatever the scale of their weights."""
        L, r = ACT_DEFAULTS["key"]
        return replace(self, act_L=L, act_r=r, act_metric="key")

    @property
    def head_dim(self) -> int:
        """Width D of one attention head."""
        return self.hidden_dim // self.heads
