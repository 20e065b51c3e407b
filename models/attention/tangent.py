"""Tangent attention: a cluster's members follow the first-order change of its output instead of copying it.

    out_i = O_c + J_c (q_i - p_c)
    J_c = (Σ_j A_cj v_j k_jᵀ - O_c (Σ_j A_cj k_j)ᵀ) / sqrt(D)      O_c = A_c V      A_c = softmax(p_c Kᵀ / sqrt(D))

J_c [D, D], the covariance of values and keys under the prototype's attention, is the derivative of its output. So
a member's error is of second order in its distance from the prototype; a copy's is of first order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.kmeans import KMeansAttention, grouping_multiply_adds
from models.attention.strategy import Attended, wide_and_contiguous
from models.clustering.kmeans import Grouping, kmeans, kmeans_multiply_adds, spread_start
from models.clustering.metrics import metric_matrix
from models.clustering.prototypes import broadcast
from models.config import Metric

CPU_BLOCK, GPU_BLOCK = 64, 4096
"""Keys whose products with the values are held at once, S D numbers each. On a CPU they should stay in its cache."""


@dataclass(frozen=True, slots=True)
class Tangents:
    """How the outputs of C prototypes change with the query, to first order.

    `outputs` [B, H, C, D]; `derivatives` [B, H, S, D, D], value by query, taken at S expansion points; `point` int64
    [B, H, C] in 0..S-1, the expansion point of each prototype.
    """

    outputs: Tensor
    derivatives: Tensor
    point: Tensor


@dataclass(frozen=True, slots=True)
class TangentAttention:
    """K-means clusters as `KMeansAttention` makes them, with tangents at `expansion_points` points.

    None, or C: every prototype is its own. Fewer: the prototypes themselves are clustered, and each uses the
    derivative at its cluster's mean, but its own output. 0: `KMeansAttention`.
    """

    C: int
    expansion_points: int | None = None
    rounds: int = 4
    metric: Metric = "key"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Group, attend once per prototype, differentiate at the expansion points, give each member its own value."""
        if self.expansion_points == 0:
            return self.copy(q, k, v)
        q, k, wide = (wide_and_contiguous(x) for x in (q, k, v))
        grouping, tangents = self.expand(q, k, wide)
        clusters = grouping.clusters
        prototype, output = broadcast(torch.cat((grouping.prototypes, tangents.outputs), -1), clusters).chunk(2, -1)
        point = tangents.point.gather(-1, grouping.ids)
        values = output + apply_derivatives(tangents.derivatives, q - prototype, point)
        return Attended(values.to(v.dtype), clusters.counts)

    @property
    def copy(self) -> KMeansAttention:
        """The same clusters without tangents: the paper's broadcast."""
        return KMeansAttention(self.C, self.rounds, metric=self.metric)

    def expand(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Grouping, Tangents]:
        """Clusters of q [B, H, N, D] and the tangents of their prototypes, at one expansion point at least."""
        matrix = metric_matrix(self.metric, k)
        grouping = kmeans(q, spread_start(q, self.C), self.rounds, matrix)
        prototypes, count = grouping.prototypes, grouping.prototypes.shape[-2]
        if self.expansion_points is None or self.expansion_points >= count:
            own = torch.arange(count, device=q.device).expand(prototypes.shape[:-1])
            outputs, derivatives = differentiate(prototypes, k, v)
            return grouping, Tangents(outputs, derivatives, own)
        coarse = kmeans(
            prototypes, spread_start(prototypes, self.expansion_points), self.rounds, matrix, grouping.sizes
        )
        outputs = scaled_dot_product_attention(prototypes, k, v)
        _, derivatives = differentiate(coarse.prototypes, k, v)
        return grouping, Tangents(outputs, derivatives, coarse.ids)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """Grouping; S N (D² + 3 D) for S expansion points; N D² to apply derivatives; 2 C N D unless S is C."""
        if self.expansion_points == 0:
            return self.copy.multiply_adds(tokens, heads, head_dim)
        count = min(self.C, tokens)
        S = count if self.expansion_points is None else min(self.expansion_points, count)
        ran = grouping_multiply_adds(tokens, head_dim, self.C, self.rounds, self.metric)
        ran += S * tokens * (head_dim**2 + 3 * head_dim) + tokens * head_dim**2
        if count > S:
            ran += kmeans_multiply_adds(count, head_dim, S, self.rounds, self.metric == "query")
            ran += 2 * count * tokens * head_dim
        return heads * ran


def differentiate(queries: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Exact attention's outputs [B, H, S, D] at queries [B, H, S, D], and their derivatives [B, H, S, D, D].

    derivatives[..., a, b] is how value a changes with coordinate b of the query; k, v [B, H, N, D].
    """
    scale = queries.shape[-1] ** -0.5
    weights = torch.softmax((queries * scale) @ k.mT, -1)
    outputs, keys = weights @ v, weights @ k
    return outputs, (_weighted_products(weights, k, v) - outputs[..., :, None] * keys[..., None, :]) * scale


def _weighted_products(weights: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Σ_j weights_cj v_j k_jᵀ, [B, H, S, D, D], a block of keys at a time."""
    images, heads, count, tokens = weights.shape
    dim = k.shape[-1]
    block = GPU_BLOCK if k.is_cuda else CPU_BLOCK
    weights, v, k = weights.flatten(0, 1)[:, :, None], v.flatten(0, 1).mT.contiguous()[:, None], k.flatten(0, 1)
    products = k.new_zeros(images * heads, count * dim, dim)
    for start in range(0, tokens, block):
        some = slice(start, start + block)
        products = products.baddbmm((weights[..., some] * v[..., some]).flatten(1, 2), k[:, some])
    return products.view(images, heads, count, dim, dim)


def apply_derivatives(derivatives: Tensor, step: Tensor, point: Tensor) -> Tensor:
    """derivatives[..., point_i, :, :] step_i: [B, H, N, D] of [B, H, S, D, D], [B, H, N, D] and int64 [B, H, N].

    A GPU has the bandwidth to give every step its own matrix. On a CPU the steps are brought together by expansion
    point, a matrix product each.
    """
    groups, S, dim = derivatives[..., 0, 0, 0].numel(), *derivatives.shape[-3:-1]
    first = torch.arange(groups, device=step.device).view(*step.shape[:2], 1) * S
    slot = (point + first).flatten()
    matrices, rows = derivatives.reshape(-1, dim, dim), step.reshape(-1, dim)
    if step.is_cuda:
        return (matrices.index_select(0, slot) @ rows[..., None]).view(step.shape)
    order = slot.argsort(stable=True)
    sizes = torch.bincount(slot, minlength=len(matrices)).tolist()
    members = torch.split_with_sizes(rows.index_select(0, order), sizes)
    moved = torch.cat([part @ matrix.mT for part, matrix in zip(members, matrices.unbind(), strict=True) if len(part)])
    return torch.empty_like(moved).index_copy_(0, order, moved).view(step.shape)
