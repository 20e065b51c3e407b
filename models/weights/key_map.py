"""Parameter names that transformers writes, old and new, to the published names, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from models.weights.errors import MismatchedWeights

# In transformers 4 and in what 5 saves by default the names have the first form, in memory of 5 the second:
#   model.backbone.conv_encoder.model.    model.backbone.model.
#   out_proj, fc1, fc2                    o_proj, mlp.fc1, mlp.fc2
# A backbone given as a timm configuration had one more part in 4 (`_backbone.`).
BACKBONE: Final = re.compile(r"model\.backbone\.(?:conv_encoder\.)?model\.(?:_backbone\.)?(.+)")
BLOCK: Final = re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(.+)")
LAYER: Final = re.compile(r"model\.(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")
PROJECTION: Final = re.compile(r"(.+_attn)\.([qkv])_proj")

WHOLE: Final = {
    "model.input_projection": "input_proj",
    "model.query_position_embeddings": "query_embed",
    "model.encoder.layernorm": "transformer.encoder.norm",
    "model.decoder.layernorm": "transformer.decoder.norm",
    "class_labels_classifier": "class_embed",
    "bbox_predictor.layers.0": "bbox_embed.layers.0",
    "bbox_predictor.layers.1": "bbox_embed.layers.1",
    "bbox_predictor.layers.2": "bbox_embed.layers.2",
}
IN_LAYER: Final = {
    "fc1": "linear1",
    "fc2": "linear2",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
    "self_attn.out_proj": "self_attn.out_proj",
    "self_attn.o_proj": "self_attn.out_proj",
    "encoder_attn.out_proj": "multihead_attn.out_proj",
    "encoder_attn.o_proj": "multihead_attn.out_proj",
    "self_attn_layer_norm": "norm1",
    "encoder_attn_layer_norm": "norm2",
}
LAST_NORM: Final = {"encoder": "norm2", "decoder": "norm3"}
ATTENTION: Final = {"self_attn": "self_attn", "encoder_attn": "multihead_attn"}


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights to the published names; queries, keys and values then share one projection.

    A name that is not known stays as it is, for the strict loader to complain of. Raises MismatchedWeights
    where a projection lacks one of its three parts.
    """
    renamed: dict[str, Tensor] = {}
    projections: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, part = _name_and_part(key)
        if part is None:
            renamed[name] = value
        else:
            projections.setdefault(name, {})[part] = value
    for key, parts in projections.items():
        if parts.keys() != set("qkv"):
            raise MismatchedWeights(f"{key} needs q_proj, k_proj and v_proj; it has only {sorted(parts)}")
        renamed[key] = torch.cat([parts[part] for part in "qkv"])
    return renamed


def transformers_state(published: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Tensor]:
    """The inverse: weights for the `keys` of a model of transformers, from weights with the published names.

    Raises MismatchedWeights for a key whose weight is not there, and for weights that no key asks for.
    """
    wanted = {key: _name_and_part(key) for key in keys}
    missing = sorted(name for name, _ in wanted.values() if name not in published)
    unused = sorted(published.keys() - {name for name, _ in wanted.values()})
    if missing or unused:
        raise MismatchedWeights(f"transformers' model lacks {unused[:3]}, and needs {missing[:3]}, which are not there")
    return {
        key: published[name] if part is None else published[name].chunk(3)["qkv".index(part)]
        for key, (name, part) in wanted.items()
    }


def _name_and_part(key: str) -> tuple[str, str | None]:
    """The published name, and which part of it (q, k or v) this is where three share one."""
    layer = LAYER.fullmatch(key)
    projection = layer and PROJECTION.fullmatch(layer[3])
    if layer and projection and projection[1] in ATTENTION:
        stack = f"transformer.{layer[1]}.layers.{layer[2]}.{ATTENTION[projection[1]]}"
        return f"{stack}.in_proj_{layer[4]}", projection[2]
    return _published_name(key), None


def _published_name(key: str) -> str:
    if match := BACKBONE.fullmatch(key):
        return f"backbone.0.body.{_torchvision_name(match[1])}"
    if match := LAYER.fullmatch(key):
        stack, number, part, kind = match.groups()
        name = LAST_NORM[stack] if part == "final_layer_norm" else IN_LAYER.get(part)
        return key if name is None else f"transformer.{stack}.layers.{number}.{name}.{kind}"
    module, _, kind = key.rpartition(".")
    return f"{WHOLE[module]}.{kind}" if module in WHOLE else key


def _torchvision_name(key: str) -> str:
    """Rename inside transformers' own ResNet; timm's ResNet has torchvision's names already."""
    if key.startswith("embedder.embedder."):
        return _replaced(r"embedder\.embedder\.(\w+)\.(\w+)", lambda m: f"{_unit(m[1], '1')}.{m[2]}", key)
    block = BLOCK.fullmatch(key)
    if block is None:
        return key
    inside = _replaced(r"layer\.(\d+)\.(\w+)\.(\w+)", lambda m: f"{_unit(m[2], str(int(m[1]) + 1))}.{m[3]}", block[3])
    inside = inside.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
    return f"layer{int(block[1]) + 1}.{block[2]}.{inside}"


def _unit(module: str, number: str) -> str:
    return {"convolution": "conv", "normalization": "bn"}.get(module, module) + number


def _replaced(pattern: str, name: Callable[[re.Match[str]], str], key: str) -> str:
    match = re.fullmatch(pattern, key)
    return name(match) if match else key
