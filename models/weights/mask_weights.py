"""The mask head of a DETR for segmentation, read from its weights, under published names or transformers' own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import Tensor
from torch.nn.functional import relu

from models.config import DetrConfig
from models.detr.mask_head import MaskHead
from models.weights.errors import MismatchedWeights
from models.weights.strict_load import load_strict

KEY: Final = re.compile(r"(?:.*\.)?((?:mask_head|bbox_attention)\..+)")

# The names of transformers 5 in memory; on disk, it writes the published ones by default.
RENAMED: Final = (
    (re.compile(r"bbox_attention\.([qk])_proj"), r"bbox_attention.\1_linear"),
    (re.compile(r"mask_head\.conv(\d)\.conv"), r"mask_head.lay\1"),
    (re.compile(r"mask_head\.conv(\d)\.norm"), r"mask_head.gn\1"),
    (re.compile(r"mask_head\.fpn_stages\.(\d)\.fpn_adapter"), lambda m: f"mask_head.adapter{int(m[1]) + 1}"),
    (re.compile(r"mask_head\.fpn_stages\.(\d)\.refine\.conv"), lambda m: f"mask_head.lay{int(m[1]) + 3}"),
    (re.compile(r"mask_head\.fpn_stages\.(\d)\.refine\.norm"), lambda m: f"mask_head.gn{int(m[1]) + 3}"),
    (re.compile(r"mask_head\.output_conv"), "mask_head.out_lay"),
)


def read_mask_head(
    state: Mapping[str, Tensor],
    dim: int,
    heads: int,
    channels: Sequence[int],
    activation: Callable[[Tensor], Tensor] = relu,
) -> MaskHead | None:
    """Make the mask head of a state dict, whatever else that holds; None where it has none.

    `dim` and `heads` are those of the encoder, `channels` those of the backbone's first three maps, coarsest first.
    Raises MismatchedWeights where weights are missing, unexpected or of another shape.
    """
    weights = {_published(match[1]): value for key, value in state.items() if (match := KEY.fullmatch(key))}
    if not weights:
        return None
    try:
        head = MaskHead(dim, heads, channels, activation)
    except ValueError as error:
        raise MismatchedWeights(f"no mask head fits {dim} channels and {heads} heads: {error}") from error
    load_strict(head, weights)
    return head


def mask_head_of(state: Mapping[str, Tensor], config: DetrConfig) -> MaskHead | None:
    """The same for a model that our own network runs."""
    finest = config.resnet.channels // 2 ** (len(config.resnet.blocks) - 1)
    return read_mask_head(state, config.hidden_dim, config.heads, (4 * finest, 2 * finest, finest))


def _published(key: str) -> str:
    for pattern, name in RENAMED:
        key = pattern.sub(name, key)
    return key
