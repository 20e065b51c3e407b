"""The backbone of a transformers configuration: a timm ResNet or transformers' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PositiveInt

from models.config import RESNET50, RESNET101, BackboneConfig
from models.weights.errors import UnsupportedModel
from models.weights.foreign_json import ForeignJson, parsed

TIMM_RESNETS: Final = {
    "resnet18": BackboneConfig("basic", (2, 2, 2, 2)),
    "resnet26": BackboneConfig("bottleneck", (2, 2, 2, 2)),
    "resnet34": BackboneConfig("basic", (3, 4, 6, 3)),
    "resnet50": RESNET50,
    "resnet101": RESNET101,
    "resnet152": BackboneConfig("bottleneck", (3, 8, 36, 3)),
}

NATURAL_STRIDE: Final = 32

Counts = Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)]
"""Whole numbers above 0; not strict, since JSON has lists where this is a tuple."""


class BackboneFields(ForeignJson):
    """What `config.json` says of the backbone.

    Version 4 kept a timm backbone's name at the top (`use_timm_backbone`, true unless given), version 5 keeps it in
    `backbone_config`.
    """

    backbone_config: dict[str, Any] = Field(default_factory=dict)
    use_timm_backbone: bool = True
    backbone: str = "resnet50"
    backbone_kwargs: dict[str, Any] = Field(default_factory=dict)
    dilation: bool = False


class Stages(ForeignJson):
    """What timm and transformers both say of a ResNet; `out_indices` and `out_features` name the stages given out."""

    num_channels: Literal[3] = 3
    out_indices: Any = None
    out_features: Any = None


class TimmFields(Stages):
    """A timm backbone; `output_stride` is its stride where that is not the natural one."""

    backbone: str = ""
    output_stride: PositiveInt | None = None


class ResNetFields(Stages):
    """transformers' own ResNet, which knows no dilation and ignores that field."""

    hidden_act: Literal["relu"] = "relu"
    layer_type: Literal["basic", "bottleneck"] = "bottleneck"
    downsample_in_first_stage: Literal[False] = False
    downsample_in_bottleneck: bool = False
    embedding_size: PositiveInt = 64
    depths: Counts = (3, 4, 6, 3)
    hidden_sizes: Counts = (256, 512, 1024, 2048)


def read_backbone(config: BackboneFields, source: str) -> BackboneConfig:
    """Read the ResNet that `config.json` describes, up to the stage whose features DETR uses.

    Raises UnsupportedModel for what is no ResNet of torchvision's layout, CorruptCheckpoint for a wrong type.
    """
    inner, inside = config.backbone_config, f"{source}: backbone_config"
    kind = inner.get("model_type") or "resnet"
    if kind == "timm_backbone":
        timm = parsed(TimmFields, inner, inside)
        return _timm(timm, timm.backbone, NATURAL_STRIDE, inside)
    if kind != "resnet":
        raise UnsupportedModel(f"{inside}: model_type = {kind!r} is not supported: only ResNets are")
    if not inner and config.use_timm_backbone:
        stride = NATURAL_STRIDE // 2 if config.dilation else NATURAL_STRIDE
        inside = f"{source}: backbone_kwargs"
        return _timm(parsed(TimmFields, config.backbone_kwargs, inside), config.backbone, stride, inside)
    return _own(parsed(ResNetFields, inner, inside), inside)


def _timm(fields: TimmFields, name: str, stride: int, source: str) -> BackboneConfig:
    """Read a timm backbone; `stride` holds unless there is an `output_stride`."""
    known = name.partition(".")[0].removeprefix("timm/").removeprefix("tv_")
    if known not in TIMM_RESNETS:
        raise UnsupportedModel(f"{source}: backbone {name!r} is not supported: {', '.join(TIMM_RESNETS)} are")
    backbone = _up_to_used_stage(TIMM_RESNETS[known], fields, source)
    return _dilated(backbone, fields.output_stride or stride, source)


def _dilated(backbone: BackboneConfig, stride: int, source: str) -> BackboneConfig:
    """Dilate what would exceed the stride, as timm does; here that may only be the last stage."""
    if stride >= backbone.stride:
        return backbone
    if backbone.block != "bottleneck" or 2 * stride != backbone.stride:
        raise UnsupportedModel(
            f"{source}: output_stride {stride} is not supported: only the last stage of a ResNet with "
            "bottleneck blocks can be dilated"
        )
    return replace(backbone, dilation=True)


def _own(fields: ResNetFields, source: str) -> BackboneConfig:
    """Read transformers' own ResNet."""
    if fields.layer_type == "bottleneck" and fields.downsample_in_bottleneck:
        raise UnsupportedModel(
            f"{source}: downsample_in_bottleneck is not supported: the stride belongs to the 3x3 convolution"
        )
    backbone = BackboneConfig(fields.layer_type, fields.depths, fields.embedding_size)
    stages = range(1, len(backbone.blocks) + 1)
    expected = tuple(replace(backbone, blocks=backbone.blocks[:stage]).channels for stage in stages)
    if fields.hidden_sizes != expected:
        raise UnsupportedModel(
            f"{source}: hidden_sizes {list(fields.hidden_sizes)} are not supported: with embedding_size "
            f"{backbone.width} and {backbone.block} blocks they must be {list(expected)}"
        )
    return _up_to_used_stage(backbone, fields, source)


def _up_to_used_stage(backbone: BackboneConfig, fields: Stages, source: str) -> BackboneConfig:
    """Cut off the stages after the last whose features are given out: DETR uses only that one."""
    last = len(backbone.blocks)
    used = max(_output_stages(fields, last, source), default=last)
    if not 1 <= used <= last:
        raise UnsupportedModel(f"{source}: out_indices name stage {used}, of {last}")
    return replace(backbone, blocks=backbone.blocks[:used])


def _output_stages(fields: Stages, last: int, source: str) -> Sequence[int]:
    """Stages whose features are given out, the stem being 0; none given: timm and transformers differ."""
    indices, names = fields.out_indices, fields.out_features
    if isinstance(indices, list) and all(type(index) is int for index in indices):
        return [index if index >= 0 else last + 1 + index for index in indices]
    if isinstance(names, list) and all(isinstance(name, str) and name[-1:].isdecimal() for name in names):
        return [int(name[-1]) for name in names]
    if indices is None and names is None:
        return []
    raise UnsupportedModel(f"{source}: out_indices {indices!r}, out_features {names!r} are not supported")
