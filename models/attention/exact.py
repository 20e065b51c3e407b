"""Exact softmax attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.strategy import Attended, attend_by_size, logit_bias
from models.attention.varlen import packed_attention
from models.images import PackedTokens
from models.precision import at_least_float32


class ExactAttention:
    """softmax(q kᵀ / sqrt(D)) v by PyTorch's fused kernel."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]."""
        return Attended(scaled_dot_product_attention(q, k, v))

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D], where keys stand for as many tokens as sizes float32 [B, N] says."""
        return Attended(attend_by_size(q, k, v, sizes))

    def sized_weights(self, q: Tensor, k: Tensor, token: int, sizes: Tensor) -> Tensor:
        """The softmax of the token's query [B, H, N], of keys that stand for several tokens."""
        return exact_weights(q[..., token, None, :], k, sizes).squeeze(-2)

    def attend_packed(self, q: Tensor, k: Tensor, v: Tensor, tokens: PackedTokens) -> Tensor:
        """Attend with q, k, v [T, H, D] of images of unequally many tokens, on a GPU."""
        return packed_attention(q, k, v, tokens, tokens.lengths)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """Q kᵀ and its product with v: 2 N² D a head."""
        return 2 * heads * tokens * tokens * head_dim


def exact_weights(queries: Tensor, k: Tensor, sizes: Tensor | None = None) -> Tensor:
    """softmax(queries kᵀ / sqrt(D)) [..., M, N] of M queries [..., M, D] and keys [..., N, D], of at least float32.

    Keys of `sizes` [B, N] count as often. It holds all M N weights at once: for a few queries.
    """
    scaled = at_least_float32(queries) * queries.shape[-1] ** -0.5
    logits = scaled @ at_least_float32(k).mT
    return torch.softmax(logits if sizes is None else logits + logit_bias(sizes, logits.dtype), -1)
