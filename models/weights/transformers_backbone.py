"""The backbone of a transformers configuration: a timm ResNet or transformers' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from models.config import RESNET50, RESNET101, BackboneConfig
from models.weights.errors import UnsupportedModel
from models.weights.json_fields import JsonFields

TIMM_RESNETS: Final = {
    "resnet18": BackboneConfig("basic", (2, 2, 2, 2)),
    "resnet26": BackboneConfig("bottleneck", (2, 2, 2, 2)),
    "resnet34": BackboneConfig("basic", (3, 4, 6, 3)),
    "resnet50": RESNET50,
    "resnet101": RESNET101,
    "resnet152": BackboneConfig("bottleneck", (3, 8, 36, 3)),
}

NATURAL_STRIDE: Final = 32


def read_backbone(config: JsonFields) -> BackboneConfig:
    """Read the ResNet that `config.json` describes, up to the stage whose features DETR uses.

    Version 4 kept a timm backbone's name at the top (`use_timm_backbone`, true unless given), version 5 keeps
    it in `backbone_config`. Raises UnsupportedModel for what is no ResNet of torchvision's layout.
    """
    inner = config.inner("backbone_config")
    kind = inner.text("model_type", "resnet")
    if kind == "timm_backbone":
        return _timm(inner, inner.text("backbone"), NATURAL_STRIDE)
    if kind != "resnet":
        raise UnsupportedModel(f"{inner.source}: model_type = {kind!r} is not supported: only ResNets are")
    if not inner.fields and config.flag("use_timm_backbone", True):
        stride = NATURAL_STRIDE // 2 if config.flag("dilation", False) else NATURAL_STRIDE
        return _timm(config.inner("backbone_kwargs"), config.text("backbone", "resnet50"), stride)
    return _own(inner)


def _timm(fields: JsonFields, name: str, stride: int) -> BackboneConfig:
    """Read a timm backbone; `stride` holds unless there is an `output_stride`."""
    known = name.partition(".")[0].removeprefix("timm/").removeprefix("tv_")
    if known not in TIMM_RESNETS:
        raise UnsupportedModel(f"{fields.source}: backbone {name!r} is not supported: {', '.join(TIMM_RESNETS)} are")
    fields.only("num_channels", 3, 3, "images have three colours")
    backbone = _up_to_used_stage(TIMM_RESNETS[known], fields)
    return _dilated(backbone, fields, fields.count("output_stride", stride))


def _dilated(backbone: BackboneConfig, fields: JsonFields, stride: int) -> BackboneConfig:
    """Dilate what would exceed the stride, as timm does; here that may be the last stage alone."""
    if stride >= backbone.stride:
        return backbone
    if backbone.block != "bottleneck" or 2 * stride != backbone.stride:
        raise UnsupportedModel(
            f"{fields.source}: output_stride {stride} is not supported: only the last stage of a ResNet with "
            "bottleneck blocks can be dilated"
        )
    return replace(backbone, dilation=True)


def _own(fields: JsonFields) -> BackboneConfig:
    """Read transformers' own ResNet, which knows no dilation and ignores that field."""
    fields.only("num_channels", 3, 3, "images have three colours")
    fields.only("hidden_act", "relu", "relu", "the backbone's activation is relu")
    fields.only("downsample_in_first_stage", False, False, "the first stage keeps its stride")
    block = fields.text("layer_type", "bottleneck")
    if block not in ("basic", "bottleneck"):
        raise UnsupportedModel(f"{fields.source}: layer_type = {block!r} is not supported")
    if block == "bottleneck":
        fields.only("downsample_in_bottleneck", False, False, "the stride belongs to the 3x3 convolution")
    blocks, width = fields.counts("depths", (3, 4, 6, 3)), fields.count("embedding_size", 64)
    backbone = BackboneConfig("basic" if block == "basic" else "bottleneck", blocks, width)
    _check_widths(backbone, fields)
    return _up_to_used_stage(backbone, fields)


def _check_widths(backbone: BackboneConfig, fields: JsonFields) -> None:
    widths = fields.counts("hidden_sizes", (256, 512, 1024, 2048))
    expected = tuple(
        replace(backbone, blocks=backbone.blocks[: stage + 1]).channels for stage in range(len(backbone.blocks))
    )
    if widths != expected:
        raise UnsupportedModel(
            f"{fields.source}: hidden_sizes {list(widths)} are not supported: with embedding_size "
            f"{backbone.width} and {backbone.block} blocks they must be {list(expected)}"
        )


def _up_to_used_stage(backbone: BackboneConfig, fields: JsonFields) -> BackboneConfig:
    """Cut off the stages after the last whose features are given out: DETR uses that one alone."""
    last = len(backbone.blocks)
    outputs = _output_stages(fields, last)
    used = max(outputs, default=last)
    if not 1 <= used <= last:
        raise UnsupportedModel(f"{fields.source}: out_indices name stage {used}, of {last}")
    return replace(backbone, blocks=backbone.blocks[:used])


def _output_stages(fields: JsonFields, last: int) -> Sequence[int]:
    """Stages whose features are given out, the stem being 0; none given: timm and transformers differ."""
    indices = fields.fields.get("out_indices")
    if isinstance(indices, list) and all(type(index) is int for index in indices):
        return [index if index >= 0 else last + 1 + index for index in indices]
    names = fields.fields.get("out_features")
    if isinstance(names, list) and all(isinstance(name, str) and name[-1:].isdecimal() for name in names):
        return [int(name[-1]) for name in names]
    if indices is None and names is None:
        return []
    raise UnsupportedModel(f"{fields.source}: out_indices {indices!r}, out_features {names!r} are not supported")
