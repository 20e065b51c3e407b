"""Multi-head attention with the published parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from models.attention.strategy import Attended, AttentionStrategy, PackedStrategy, SizedStrategy
from models.attention.varlen import packed_attention, takes_unequal
from models.images import PackedTokens, Run


class MultiheadAttention(nn.Module):
    """Projections around attention; state-dict keys and initial values are `torch.nn.MultiheadAttention`'s."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = dim // heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, x: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
        """Project x [..., dim] by the parts first..last-1 of (query, key, value) in one product."""
        dim = x.shape[-1]
        rows = slice(first * dim, last * dim)
        return linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows]).tensor_split(last - first, -1)

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, N, dim] to [B, H, N, D]."""
        images, tokens, dim = x.shape
        return x.view(images, tokens, self.heads, dim // self.heads).transpose(1, 2)

    def join_heads(self, x: Tensor) -> Tensor:
        """[B, H, N, D] to [B, N, dim]."""
        return x.transpose(1, 2).flatten(2)

    def by_head(self, x: Tensor) -> Tensor:
        """View packed [T, dim] as [T, H, D]."""
        return x.view(len(x), self.heads, x.shape[-1] // self.heads)

    def attend_packed(self, tokens: PackedTokens, attention: AttentionStrategy) -> tuple[Tensor, list[Tensor | None]]:
        """Self-attention of every image by itself, where possible in one call, else one dense run after another.

        Returns values [T, dim] and, a dense run of images each, the strategy's cluster counts [b, H] or None.
        """
        q, k = self.project(tokens.values + tokens.positions, 0, 2)
        (v,) = self.project(tokens.values, 2, 3)
        unequal = tokens.sizes is None and takes_unequal(q, self.head_dim, tokens.lengths)
        if unequal and isinstance(attention, PackedStrategy):
            packed = attention.attend_packed(self.by_head(q), self.by_head(k), self.by_head(v), tokens)
            return self.out_proj(packed.flatten(1)), [None]
        attended = [
            _attend_run(attention, run, tokens.sizes, *(self.split_heads(run.dense(x)) for x in (q, k, v)))
            for run in tokens.runs()
        ]
        values = torch.cat([self.join_heads(part.values).flatten(0, 1) for part in attended])
        return self.out_proj(values), [part.cluster_counts for part in attended]

    def attend_dense(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Exact attention of projected q [B, Q, dim] over k, v [B, N, dim]; mask bool [Q, N], True: may look."""
        q, k, v = (self.split_heads(x) for x in (q, k, v))
        out: Tensor = self.out_proj(self.join_heads(scaled_dot_product_attention(q, k, v, mask)))
        return out

    def attend_images(self, q: Tensor, k: Tensor, v: Tensor, keys: PackedTokens) -> Tensor:
        """Exact attention of projected q [B, Q, dim], Q queries an image, over the image's own keys: [B, Q, dim].

        k, v [T, dim] are projected of `keys`, the packed tokens of B images.
        """
        if takes_unequal(q, self.head_dim, keys.lengths):
            packed, counts = self.by_head(q.flatten(0, 1)), (q.shape[1],) * len(q)
            attended = packed_attention(packed, self.by_head(k), self.by_head(v), keys, counts)
            out: Tensor = self.out_proj(attended.reshape(q.shape))
            return out
        by_run, image = [], 0
        for run in keys.runs():
            own = q[image : image + run.images]
            by_run.append(self.attend_dense(own, run.dense(k), run.dense(v)))
            image += run.images
        return torch.cat(by_run)


def _attend_run(
    attention: AttentionStrategy, run: Run, sizes: Tensor | None, q: Tensor, k: Tensor, v: Tensor
) -> Attended:
    """Attend with q, k, v [B, H, N, D] of a run, of packed tokens with `sizes` [T]. Raises TypeError."""
    if sizes is None:
        return attention(q, k, v)
    if not isinstance(attention, SizedStrategy):
        raise TypeError(f"{type(attention).__name__} has no keys that stand for several tokens")
    return attention.attend_sized(q, k, v, run.dense(sizes[:, None]).squeeze(-1))
