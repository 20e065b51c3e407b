"""The encoder's attention in training: in float32, whatever runs around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from models.attention.factory import make_attention, make_merging
from models.attention.strategy import Attended, AttentionStrategy, SizedStrategy
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig
from models.precision import at_least_float32


def training_attention(config: AttentionConfig) -> tuple[AttentionStrategy, TokenMerging | None]:
    """What an encoder runs with: approximate attention in full precision, exact attention in that of the step."""
    strategy = make_attention(config.in_layers)
    return (strategy if config.mode == "exact" else FullPrecision(strategy)), make_merging(config)


@dataclass(frozen=True, slots=True)
class FullPrecision:
    """Another attention, computed in float32 whatever runs around it: clusters should be those of serving."""

    attention: AttentionStrategy

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]; values come back in v's dtype."""
        with torch.autocast(q.device.type, enabled=False):
            attended = self.attention(*map(at_least_float32, (q, k, v)))
        return Attended(attended.values.to(v.dtype), attended.cluster_counts)

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """The same with keys that stand for as many tokens as sizes float32 [B, N] says."""
        with torch.autocast(q.device.type, enabled=False):
            sized = cast("SizedStrategy", self.attention)
            q, k, wide = (at_least_float32(x) for x in (q, k, v))
            attended = sized.attend_sized(q, k, wide, sizes)
        return Attended(attended.values.to(v.dtype), attended.cluster_counts)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """What the attention itself takes."""
        return self.attention.multiply_adds(tokens, heads, head_dim, clusters)
