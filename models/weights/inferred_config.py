"""Configuration of a bare checkpoint, inferred from its names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.config import BackboneConfig, BoxRefinementConfig, DetrConfig
from models.named_models import PUBLISHED_SIDES, coco_labels
from models.weights.errors import MismatchedWeights, UnsupportedModel

BODY = "backbone.0.body."
HEAD_DIM = 32


def config_from_state_dict(state: Mapping[str, Tensor], name: str) -> DetrConfig:
    """Read off names and shapes what model weights with the published names belong to.

    Some things leave no trace in weights and are assumed: heads of width 32 as published; dilation (DC5)
    only where `name` says dc5; the published image sizes, in training too; how far a box refinement reaches. With
    91 classes the labels are COCO's, otherwise class_0, class_1 and so on. Raises MismatchedWeights where a needed name
    is missing, UnsupportedModel where the sizes make no DETR of ours.
    """
    hidden_dim = _size(state, "query_embed.weight", 1)
    classes = _size(state, "class_embed.weight", 0) - 1
    if hidden_dim % HEAD_DIM:
        raise UnsupportedModel(f"width {hidden_dim} does not divide into heads of {HEAD_DIM}: number of heads unknown")
    return DetrConfig(
        name=name,
        labels=coco_labels() if classes == 91 else tuple(f"class_{i}" for i in range(classes)),
        backbone=_backbone(state, "dc5" in name.lower()),
        hidden_dim=hidden_dim,
        heads=hidden_dim // HEAD_DIM,
        encoder_layers=_children(state, "transformer.encoder.layers.", ".linear1.weight"),
        decoder_layers=_children(state, "transformer.decoder.layers.", ".linear1.weight"),
        feedforward_dim=_size(state, "transformer.encoder.layers.0.linear1.weight", 0),
        queries=_size(state, "query_embed.weight", 0),
        pre_norm="transformer.encoder.norm.weight" in state,
        trained_sides=PUBLISHED_SIDES,
        box_refinement=BoxRefinementConfig() if "box_refinement.fine.weight" in state else None,
    ).untuned()


def _backbone(state: Mapping[str, Tensor], dilation: bool) -> BackboneConfig:
    blocks: list[int] = []
    while count := _children(state, f"{BODY}layer{len(blocks) + 1}.", ".conv1.weight"):
        blocks.append(count)
    if not blocks:
        raise MismatchedWeights(f"no {BODY}layer1 among the names: not a DETR with a ResNet")
    bottleneck = f"{BODY}layer1.0.conv3.weight" in state
    if dilation and not bottleneck:
        raise UnsupportedModel("the name says dc5, but basic residual blocks cannot be dilated")
    width = _size(state, f"{BODY}conv1.weight", 0)
    entry = _size(state, f"{BODY}conv0.weight", 0) if f"{BODY}conv0.weight" in state else 0
    return BackboneConfig("bottleneck" if bottleneck else "basic", tuple(blocks), width, dilation, entry)


def _size(state: Mapping[str, Tensor], key: str, axis: int) -> int:
    if key not in state or state[key].dim() <= axis:
        raise MismatchedWeights(f"no {key} of that rank among the names: not a DETR with published names")
    return state[key].shape[axis]


def _children(state: Mapping[str, Tensor], prefix: str, suffix: str) -> int:
    """Number of keys prefix0suffix, prefix1suffix, ... without a gap."""
    count = 0
    while f"{prefix}{count}{suffix}" in state:
        count += 1
    return count
