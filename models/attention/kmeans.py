"""K-means attention: attend once for each of a fixed number of clusters. The ACT paper's baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from models.attention.exact import exact_weights
from models.attention.strategy import Attended, attend_by_size, wide_and_contiguous
from models.attention_config import Metric
from models.clustering.kmeans import Grouping, kmeans, kmeans_multiply_adds, spread_sample, spread_start
from models.clustering.metrics import metric_matrix, metric_multiply_adds
from models.clustering.prototypes import Clusters, broadcast, own_row

METRIC_KEYS: Final = 512
"""Keys that the metric is made of, of more."""


@dataclass(frozen=True, slots=True)
class KMeansAttention:
    """Queries grouped into min(`C`, N) clusters by `rounds` of Lloyd's algorithm; keys and values as they are.

    `seed` shifts the positions whose queries are the first centres (see `spread_start`). Cluster counts are
    of the clusters that are not empty; the empty ones are computed all the same. Computes in float32 where the
    queries have a narrower type.
    """

    C: int
    rounds: int = 4
    seed: int = 0
    metric: Metric = "query"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Group, attend once per prototype, hand the result to every member."""
        return self._attend(q, k, v, None)

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """The same with keys that stand for as many tokens as sizes float32 [B, N] says."""
        return self._attend(q, k, v, sizes)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor | None) -> Attended:
        q, k, wide = (wide_and_contiguous(x) for x in (q, k, v))
        grouping = self.group(q, k)
        attended = attend_by_size(grouping.prototypes, k, wide, sizes)
        clusters = grouping.clusters
        return Attended(broadcast(attended, clusters).to(v.dtype), clusters.counts)

    def group(self, q: Tensor, k: Tensor) -> Grouping:
        """Clusters of q [B, H, N, D]; q and k as `wide_and_contiguous` makes them."""
        return kmeans(q, spread_start(q, self.C, self.seed), self.rounds, sampled_metric(self.metric, k))

    def assign(self, q: Tensor, k: Tensor) -> Clusters:
        """Clusters of q [B, H, N, D], numbered by the places of the first centres; some numbers may be of none."""
        return self.group(*(wide_and_contiguous(x) for x in (q, k))).clusters

    def weights(self, q: Tensor, k: Tensor, token: int) -> Tensor:
        """Those of the token's prototype [B, H, N]: all members of a cluster have the same."""
        return self._weights(q, k, token, None)

    def sized_weights(self, q: Tensor, k: Tensor, token: int, sizes: Tensor) -> Tensor:
        """The same with keys that stand for as many tokens as sizes float32 [B, N] says."""
        return self._weights(q, k, token, sizes)

    def _weights(self, q: Tensor, k: Tensor, token: int, sizes: Tensor | None) -> Tensor:
        q, k = (wide_and_contiguous(x) for x in (q, k))
        grouping = self.group(q, k)
        return exact_weights(own_row(grouping.prototypes, grouping.ids, token), k, sizes).squeeze(-2)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """Grouping, then attention of all C prototypes 2 C N D a head: the same for every image."""
        attention = 2 * min(self.C, tokens) * tokens * head_dim
        grouping = grouping_multiply_adds(tokens, head_dim, self.C, self.rounds, self.metric)
        return heads * (grouping + attention)


def sampled_metric(metric: Metric, k: Tensor) -> Tensor | None:
    """`metric_matrix` of at most `METRIC_KEYS` of the keys [..., N, D]: it only says which queries are near."""
    return metric_matrix(metric, spread_sample(k, METRIC_KEYS))


def grouping_multiply_adds(tokens: int, head_dim: int, C: int, rounds: int, metric: Metric) -> int:
    """Multiply-adds of the metric and of K-means for one image and head."""
    lloyd = kmeans_multiply_adds(tokens, head_dim, min(C, tokens), rounds, metric == "query")
    return metric_multiply_adds(metric, min(tokens, METRIC_KEYS), head_dim) + lloyd
