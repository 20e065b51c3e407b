"""The attention strategies' protocol, as the encoder uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.clustering.prototypes import Clusters
from models.images import PackedTokens
from models.precision import at_least_float32


@dataclass(frozen=True, slots=True)
class Attended:
    """Result of a strategy for a dense run of B images.

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
        """Multiply-adds of only the attention for one image and layer; `clusters` is their sum over the heads."""
        ...


@runtime_checkable
class PackedStrategy(Protocol):
    """What a strategy has besides, if it can attend for images of unequally many tokens in one call."""

    def attend_packed(self, q: Tensor, k: Tensor, v: Tensor, tokens: PackedTokens) -> Tensor:
        """Attend with q, k, v [T, H, D] of `tokens`, every image by itself, where `varlen.takes_unequal` allows it."""
        ...


@runtime_checkable
class SizedStrategy(Protocol):
    """What a strategy has besides, if keys may stand for several tokens (proportional attention, ToMe, section 3.4)."""

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]; a key counts as often as `sizes` float32 [B, N], 1 or more, says."""
        ...


@runtime_checkable
class ClusteringStrategy(Protocol):
    """What a strategy has besides, if it clusters: an account of what it does with each query.

    It finds the clusters in the same way as when it attends, so that they are the same bit for bit.
    """

    def assign(self, q: Tensor, k: Tensor) -> Clusters:
        """The cluster of every query of q [B, H, N, D], and how many there are."""
        ...

    def weights(self, q: Tensor, k: Tensor, token: int) -> Tensor:
        """The weights [B, H, N] that make the query of one token its value: the strategy's is weights @ v.

        They sum to 1. Of at least float32; up to rounding.
        """
        ...


def logit_bias(sizes: Tensor, dtype: torch.dtype) -> Tensor:
    """What makes a key count as often as its size when it is added to the logits: [B, 1, 1, N] of sizes [B, N]."""
    return sizes.log().to(dtype)[:, None, None]


def attend_by_size(q: Tensor, k: Tensor, v: Tensor, sizes: Tensor | None) -> Tensor:
    """Exact attention [B, H, M, D] of q [B, H, M, D] over k, v [B, H, N, D], whose sizes [B, N] are 1 if None."""
    bias = None if sizes is None else logit_bias(sizes, q.dtype).expand(-1, -1, q.shape[-2], -1)
    return scaled_dot_product_attention(q, k, v, bias)


def wide_and_contiguous(x: Tensor) -> Tensor:
    """At least float32; contiguous, so that one image is computed as it is among several."""
    return at_least_float32(x).contiguous()
