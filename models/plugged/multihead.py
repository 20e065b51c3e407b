"""`torch.nn.MultiheadAttention` that clusters: the class of plugged modules, with the same parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from models.plugged.clustered import attend_plugged, is_clustered, refuse
from models.plugged.padding import kept_by_row


class PluggedMultiheadAttention(nn.MultiheadAttention):
    """Self-attention by the settings that were plugged in; exact, as its class was before, for all else.

    Weights of attention are not known where clusters attend: None is returned for them.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as `torch.nn.MultiheadAttention` does. Raises CannotCluster for causal attention, masks, dropout."""
        if not query.shape == key.shape == value.shape or not is_clustered(self):
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        if is_causal or attn_mask is not None:
            refuse(self, "it is called with attn_mask or is_causal")
        if self.training and self.dropout > 0:
            refuse(self, f"it has dropout {self.dropout:g} in training: set its dropout to 0")
        tokens_first = query.dim() == 3 and not self.batch_first
        heads = [self._heads(x, tokens_first) for x in self._project(query, key, value)]
        joined = attend_plugged(self, heads, self._kept(key_padding_mask)).transpose(1, 2).flatten(2)
        out: Tensor = self.out_proj(joined)
        if query.dim() == 2:
            return out[0], None
        return out.transpose(0, 1) if tokens_first else out, None

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Projected query, key and value, of the shapes that they have."""
        weight, bias, dim = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if query is key:
            q, k = linear(query, weight[: 2 * dim], None if bias is None else bias[: 2 * dim]).tensor_split(2, -1)
            return q, k, linear(value, weight[2 * dim :], None if bias is None else bias[2 * dim :])
        biases = (None, None, None) if bias is None else bias.tensor_split(3)
        weights = weight.tensor_split(3)
        return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))

    def _heads(self, x: Tensor, tokens_first: bool) -> Tensor:
        """[B, N, E], [N, B, E] if `tokens_first`, or [N, E], to [B, H, N, D]."""
        x = x[None] if x.dim() == 2 else x.transpose(0, 1) if tokens_first else x
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _kept(self, key_padding_mask: Tensor | None) -> Tensor | None:
        """Keys bool [B, N] that a mask [B, N] or [N] keeps: bool, True for padding, or added to logits."""
        if key_padding_mask is None:
            return None
        mask = key_padding_mask[None] if key_padding_mask.dim() == 1 else key_padding_mask
        kept = ~mask if mask.dtype == torch.bool else kept_by_row(mask)
        return kept if kept is not None else refuse(self, "its key_padding_mask does more than hide padding")
