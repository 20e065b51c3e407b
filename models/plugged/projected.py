"""Self-attention of transformers' DETRs that compute it by themselves: projections `q_proj`, `k_proj`, `v_proj`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.plugged.clustered import attend_plugged, refuse
from models.plugged.padding import kept_keys


def attend_projected(
    module: Any,
    hidden_states: Tensor,
    positions: Tensor | None,
    mask: Tensor | None,
    dropout: float,
    output_attentions: bool,
) -> tuple[Tensor, None]:
    """Self-attention of hidden_states [B, N, d], positions [B, N, d] added for queries and keys: [B, N, d].

    `mask` [B, 1, N, N] is additive, or bool and then True for keys that are hidden. Raises CannotCluster.
    """
    if output_attentions:
        refuse(module, "weights of attention are asked for, which clusters do not have")
    if module.training and dropout > 0:
        refuse(module, f"it has dropout {dropout:g} in training: set attention_dropout to 0")
    placed = hidden_states if positions is None else hidden_states + positions
    projected = (module.q_proj(placed), module.k_proj(placed), module.v_proj(hidden_states))
    heads = [x.view(*x.shape[:2], module.num_heads, module.head_dim).transpose(1, 2) for x in projected]
    kept = None
    if mask is not None:
        kept = kept_keys(~mask if mask.dtype == torch.bool else mask)
        if kept is None:
            refuse(module, "its mask does more than hide padding")
    return module.out_proj(attend_plugged(module, heads, kept).transpose(1, 2).flatten(2)), None
