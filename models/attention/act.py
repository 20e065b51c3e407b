"""Adaptive clustering attention (ACT, arXiv 2011.09315): attend once per group of queries that hash alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.attention.exact import exact_weights
from models.attention.prototype_attention import prototype_attention
from models.attention.strategy import Attended, wide_and_contiguous
from models.attention_config import Metric
from models.clustering.lsh import bucket_keys, hash_buckets, hash_planes
from models.clustering.metrics import metric_factor, metric_matrix, metric_multiply_adds
from models.clustering.prototypes import Clusters, assign_clusters, broadcast, mean_prototypes, own_row


@dataclass(frozen=True, slots=True)
class ActAttention:
    """Queries grouped by `L` rounds of LSH with bucket width `r`; keys and values stay as they are.

    In the metric `query` the hash sees queries scaled by 1/sqrt(D), so that a published (L, r) means the same here.
    In `key` it sees them as that measures distance (see `metric_matrix`): r is in units of logits.
    """

    L: int
    r: float
    seed: int = 0
    metric: Metric = "query"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Hash, group, attend once per prototype, hand the result to every member (section 3.2, equations 1 to 6)."""
        clusters, prototypes = self._prototypes(q, k)
        attended = prototype_attention(prototypes, k, v, clusters.counts)
        return Attended(broadcast(attended, clusters), clusters.counts)

    def assign(self, q: Tensor, k: Tensor) -> Clusters:
        """Clusters of q [B, H, N, D], numbered by their buckets' keys: neighbouring numbers mean nothing."""
        return assign_clusters(bucket_keys(self.hash(q, k)))

    def weights(self, q: Tensor, k: Tensor, token: int) -> Tensor:
        """Those of the token's prototype [B, H, N]: all members of a cluster have the same."""
        clusters, prototypes = self._prototypes(q, k)
        return exact_weights(own_row(prototypes, clusters.ids, token), k).squeeze(-2)

    def _prototypes(self, q: Tensor, k: Tensor) -> tuple[Clusters, Tensor]:
        """Clusters of q [B, H, N, D] and their means [B, H, C, D]."""
        clusters = self.assign(q, k)
        return clusters, mean_prototypes(q, clusters, capacity(clusters.counts, q))

    @torch.no_grad()
    def hash(self, q: Tensor, k: Tensor) -> Tensor:
        """Buckets of the queries, rows [B, H, N, L] of whole numbers."""
        head_dim = q.shape[-1]
        width = self.r * head_dim**0.5
        # The plain metric needs no keys: to widen them would copy all of them in every layer.
        matrix = None if self.metric == "query" else metric_matrix(self.metric, wide_and_contiguous(k))
        if matrix is not None:
            q, width = wide_and_contiguous(q) @ metric_factor(matrix), self.r
        planes = hash_planes(head_dim, self.L, self.seed, q.device, q.dtype)
        return hash_buckets(q, planes, width)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """Hashing N L D a head, then attention of its C prototypes 2 C N D; `clusters` is the sum of C.

        The metric `key` is made of the keys first, and the queries brought to it: 2 N D² more.
        """
        hashing = tokens * self.L * head_dim
        if self.metric != "query":
            hashing += metric_multiply_adds(self.metric, tokens, head_dim) + tokens * head_dim**2
        return heads * hashing + 2 * clusters * tokens * head_dim


def capacity(counts: Tensor, q: Tensor) -> int:
    """Rows to allocate for prototypes.

    On a CPU the largest count is at hand; a GPU would stop to hand it over, so there it is N, which no count exceeds.
    """
    return q.shape[-2] if q.is_cuda else int(counts.max())
