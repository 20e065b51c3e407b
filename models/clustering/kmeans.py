"""Lloyd's K-means over the queries of every image and head: fixed shapes, no sort, nothing read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.clustering.prototypes import Clusters, mean_prototypes

GOLDEN_RATIO: Final = 0.6180339887498949
SAMPLE: Final = 512
"""Points that Lloyd's rounds see of more. With half as many, a model lost 0.2 points of AP more."""
SAMPLE_PER_CLUSTER: Final = 8
"""Points per cluster that the rounds see at least."""
PRODUCT_CLUSTERS: Final = 128
"""Up to so many clusters, sums are a product with the membership matrix; above, rows are added one by one."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Points and the clusters they fell into.

    `prototypes` [..., C, D], the mean of each cluster's points, an empty cluster's being where it was last;
    `sizes` [..., C], the points of each or the sum of their weights, of the prototypes' dtype; `ids` int64
    [..., N] in 0..C-1.
    """

    prototypes: Tensor
    sizes: Tensor
    ids: Tensor

    @property
    def clusters(self) -> Clusters:
        """The ids, and how many clusters are not empty."""
        return Clusters(self.ids, (self.sizes > 0).sum(-1))


def kmeans(
    points: Tensor, start: Tensor, rounds: int, matrix: Tensor | None = None, weights: Tensor | None = None
) -> Grouping:
    """Group points [..., N, D] by `rounds` of Lloyd's algorithm from centres `start` [..., C, D].

    A round assigns every point of a sample (`spread_sample`, of `sample_size`) to the nearest centre and moves each
    centre to the mean of its points; a last assignment of all points follows, and the prototypes are its means.
    Nearness is that of `matrix` [..., D, D] (see `metric_matrix`), or Euclidean; `weights` [..., N], none negative,
    weigh the points in the means. Assignments are constants to autograd, prototypes are not.
    """
    with torch.no_grad():
        centres = start
        size = sample_size(points.shape[-2], start.shape[-2])
        sample = spread_sample(points, size)
        sample_weights = None if weights is None else spread_sample(weights[..., None], size)[..., 0]
        for _ in range(rounds):
            centres = _means(sample, nearest(sample, centres, matrix), centres, sample_weights)[0]
        ids = nearest(points, centres, matrix)
    prototypes, sizes = _means(points, ids, centres, weights)
    return Grouping(prototypes, sizes, ids)


def kmeans_multiply_adds(points: int, head_dim: int, clusters: int, rounds: int, euclidean: bool) -> int:
    """Multiply-adds of `kmeans` for one head: distances, and means where they are products."""
    seen = rounds * sample_size(points, clusters) + points
    means = seen if clusters <= PRODUCT_CLUSTERS else 0
    metric = 0 if euclidean else (rounds + 1) * head_dim
    return clusters * head_dim * (seen + means + metric)


def sample_size(points: int, clusters: int) -> int:
    """How many of the points Lloyd's rounds see."""
    return min(points, max(SAMPLE, SAMPLE_PER_CLUSTER * clusters))


def spread_sample(points: Tensor, size: int) -> Tensor:
    """`size` of points [..., N, D], one from each of as many stretches of equal length; all if there are not more.

    The place within a stretch moves by the golden ratio from one to the next: a fixed one could meet the same few
    columns of a feature map over and over.
    """
    tokens = points.shape[-2]
    if tokens <= size:
        return points
    stretch = torch.arange(size, dtype=torch.float64, device=points.device)
    indices = ((stretch + (stretch * GOLDEN_RATIO) % 1) * (tokens / size)).long()
    return points.index_select(-2, indices.clamp(max=tokens - 1))


def nearest(points: Tensor, centres: Tensor, matrix: Tensor | None = None) -> Tensor:
    """Index of the centre [..., C, D] nearest to each point [..., N, D], the first of equals: int64 [..., N].

    (x - c) M (x - c)ᵀ is least where x M cᵀ - c M cᵀ / 2 is greatest: the metric is applied to the few centres.
    """
    towards = centres if matrix is None else centres @ matrix
    scores = points @ towards.mT
    scores -= (centres * towards).sum(-1)[..., None, :] / 2
    return scores.argmax(-1)


def spread_start(points: Tensor, clusters: int, seed: int = 0) -> Tensor:
    """Points [..., C, D] to start from: min(`clusters`, N) different ones of points [..., N, D], evenly spread.

    One from each of C stretches of equal length. `seed` moves all of them by the same part of a stretch: 0 takes
    the middle, and the multiples of the golden ratio never come back to it.
    """
    tokens = points.shape[-2]
    clusters = min(clusters, tokens)
    within = (0.5 + seed * GOLDEN_RATIO) % 1
    stretch = torch.arange(clusters, dtype=torch.float64, device=points.device)
    indices = ((stretch + within) * (tokens / clusters)).long().clamp(max=tokens - 1)
    return points.detach()[..., indices, :]


def _means(points: Tensor, ids: Tensor, centres: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean [..., C, D] and size [..., C] of each cluster; the centre [..., C, D] of an empty one stays."""
    ones = points.new_ones(points.shape[:-1]) if weights is None else weights
    count = centres.shape[-2]
    if count <= PRODUCT_CLUSTERS:
        members = points.new_zeros(*ids.shape[:-1], count, ids.shape[-1]).scatter_(
            -2, ids[..., None, :], ones[..., None, :]
        )
        sizes = members.sum(-1)
        means = (members @ points) / sizes[..., None].clamp(min=1e-30)
    else:
        sizes = torch.zeros_like(centres[..., 0]).scatter_add_(-1, ids, ones)
        weighted = torch.cat((points * ones[..., None], ones[..., None]), -1)
        by_cluster = mean_prototypes(weighted, Clusters(ids, sizes), count)
        means = by_cluster[..., :-1] / by_cluster[..., -1:].clamp(min=1e-30)
    return torch.where(sizes[..., None] > 0, means, centres), sizes
