"""What every attention strategy looks like to the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Attended:
    """What a strategy returns for a dense run of B images.

    `values` [B, H, N, D]; `cluster_counts` int64 [B, H], or None where nothing was clustered.
    """

    values: Tensor
    cluster_counts: Tensor | None = None


class AttentionStrategy(Protocol):
    """Self-attention over images of equally many tokens. Stateless: one instance serves every layer and thread."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with projected, unscaled q, k, v [B, H, N, D]; every image and head by itself."""
        ...

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """Multiply-adds of attention alone for one image and layer; `clusters` is their sum over the heads."""
        ...


def widened(x: Tensor) -> Tensor:
    """Contiguous, so that one image is computed as it is among several; float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
