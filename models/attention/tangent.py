"""Tangent attention: a cluster's members follow the first-order change of its output instead of copying it.

    out_i = O_c + J_c (q_i - p_c)
    J_c = (Σ_j A_cj v_j k_jᵀ - O_c (Σ_j A_cj k_j)ᵀ) / sqrt(D)      O_c = A_c V      A_c = softmax(p_c Kᵀ / sqrt(D))

J_c [D, D], the covariance of values and keys under the prototype's attention, is the derivative of its output. So
a member's error is of second order in its distance from the prototype; a copy's is of first order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.attention.exact import exact_weights
from models.attention.kmeans import KMeansAttention, grouping_multiply_adds, sampled_metric
from models.attention.strategy import Attended, attend_by_size, logit_bias, wide_and_contiguous
from models.attention_config import Metric
from models.clustering.blocks import block_count, cluster_blocks
from models.clustering.kmeans import Grouping, kmeans, kmeans_multiply_adds, spread_start
from models.clustering.prototypes import Clusters, own_row

CPU_PRODUCTS, GPU_PRODUCTS = 2**18, 2**26
"""Products of weights and values that are held at once. On a CPU they should stay in its cache."""
MIN_KEYS: Final = 32
"""Keys whose products are held at once, at least."""
BLOCK: Final = 32
"""Members of a cluster that one product moves."""


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
        return self.copy(q, k, v) if self.expansion_points == 0 else self._attend(q, k, v, None)

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """The same with keys that stand for as many tokens as sizes float32 [B, N] says."""
        if self.expansion_points == 0:
            return self.copy.attend_sized(q, k, v, sizes)
        return self._attend(q, k, v, sizes)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor | None) -> Attended:
        q, k, wide = (wide_and_contiguous(x) for x in (q, k, v))
        grouping, tangents = self.expand(q, k, wide, sizes)
        values = follow(tangents, grouping, q)
        return Attended(values.to(v.dtype), grouping.clusters.counts)

    @property
    def copy(self) -> KMeansAttention:
        """The same clusters without tangents: the paper's broadcast."""
        return KMeansAttention(self.C, self.rounds, metric=self.metric)

    def expand(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor | None = None) -> tuple[Grouping, Tangents]:
        """Clusters of q [B, H, N, D] and the tangents of their prototypes, at one expansion point at least.

        Keys of `sizes` [B, N] count as often.
        """
        grouping, coarse = self._group(q, k)
        prototypes, count = grouping.prototypes, grouping.prototypes.shape[-2]
        if coarse is None:
            own = torch.arange(count, device=q.device).expand(prototypes.shape[:-1])
            outputs, derivatives = differentiate(prototypes, k, v, sizes)
            return grouping, Tangents(outputs, derivatives, own)
        outputs = attend_by_size(prototypes, k, v, sizes)
        _, derivatives = differentiate(coarse.prototypes, k, v, sizes)
        return grouping, Tangents(outputs, derivatives, coarse.ids)

    def assign(self, q: Tensor, k: Tensor) -> Clusters:
        """Clusters of q [B, H, N, D]: those of `copy`."""
        return self.copy.assign(q, k)

    def weights(self, q: Tensor, k: Tensor, token: int) -> Tensor:
        """The weights [B, H, N] to first order; far from its prototype, those of a query are below 0 in places.

            w_ij = A_cj + A_ej (k_j - Σ_l A_el k_l) · (q_i - p_c) / sqrt(D)

        A_c are the prototype's weights, A_e those of its expansion point. Σ_j w_ij v_j is O_c + J_c (q_i - p_c).
        """
        return self.copy.weights(q, k, token) if self.expansion_points == 0 else self._weights(q, k, token, None)

    def sized_weights(self, q: Tensor, k: Tensor, token: int, sizes: Tensor) -> Tensor:
        """The same with keys that stand for as many tokens as sizes float32 [B, N] says."""
        if self.expansion_points == 0:
            return self.copy.sized_weights(q, k, token, sizes)
        return self._weights(q, k, token, sizes)

    def _weights(self, q: Tensor, k: Tensor, token: int, sizes: Tensor | None) -> Tensor:
        q, k = (wide_and_contiguous(x) for x in (q, k))
        grouping, coarse = self._group(q, k)
        prototype = own_row(grouping.prototypes, grouping.ids, token)
        own = exact_weights(prototype, k, sizes)
        at_point = own
        if coarse is not None:
            point_ids = coarse.ids.gather(-1, grouping.ids[..., token, None])
            at_point = exact_weights(own_row(coarse.prototypes, point_ids, 0), k, sizes)
        step = (q[..., token, None, :] - prototype) * q.shape[-1] ** -0.5
        weights: Tensor = own + at_point * (step @ (k - at_point @ k).mT)
        return weights.squeeze(-2)

    def _group(self, q: Tensor, k: Tensor) -> tuple[Grouping, Grouping | None]:
        """Clusters of q [B, H, N, D], and those of their prototypes, None where each is its own expansion point."""
        matrix = sampled_metric(self.metric, k)
        grouping = kmeans(q, spread_start(q, self.C), self.rounds, matrix)
        prototypes = grouping.prototypes
        if self.expansion_points is None or self.expansion_points >= prototypes.shape[-2]:
            return grouping, None
        start = spread_start(prototypes, self.expansion_points)
        return grouping, kmeans(prototypes, start, self.rounds, matrix, grouping.sizes)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """Grouping; S N (D² + 3 D) for S expansion points; D² for every place in blocks; 2 C N D unless S is C."""
        if self.expansion_points == 0:
            return self.copy.multiply_adds(tokens, heads, head_dim)
        count = min(self.C, tokens)
        S = count if self.expansion_points is None else min(self.expansion_points, count)
        ran = grouping_multiply_adds(tokens, head_dim, self.C, self.rounds, self.metric)
        ran += S * tokens * (head_dim**2 + 3 * head_dim) + block_count(tokens, count, BLOCK) * BLOCK * head_dim**2
        if count > S:
            ran += kmeans_multiply_adds(count, head_dim, S, self.rounds, self.metric == "query")
            ran += 2 * count * tokens * head_dim
        return heads * ran


def differentiate(queries: Tensor, k: Tensor, v: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Exact attention's outputs [B, H, S, D] at queries [B, H, S, D], and their derivatives [B, H, S, D, D].

    derivatives[..., a, b] is how value a changes with coordinate b of the query; k, v [B, H, N, D]; keys of `sizes`
    [B, N] count as often.
    """
    scale = queries.shape[-1] ** -0.5
    logits = (queries * scale) @ k.mT
    weights = torch.softmax(logits if sizes is None else logits + logit_bias(sizes, logits.dtype), -1)
    outputs, keys = weights @ v, weights @ k
    return outputs, (_weighted_products(weights, k, v) - outputs[..., :, None] * keys[..., None, :]) * scale


def _weighted_products(weights: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Σ_j weights_cj v_j k_jᵀ, [B, H, S, D, D], a block of keys at a time.

    The block's products of weights and values are written to the same memory each time, unless autograd wants them.
    """
    images, heads, count, tokens = weights.shape
    groups, dim = images * heads, k.shape[-1]
    weights, v, k = weights.flatten(0, 1)[:, :, None], v.flatten(0, 1).mT.contiguous()[:, None], k.flatten(0, 1)
    block = min(tokens, max(MIN_KEYS, (GPU_PRODUCTS if k.is_cuda else CPU_PRODUCTS) // (groups * count * dim)))
    if torch.compiler.is_exporting():
        block = tokens  # a graph would hold each block's operators
    buffer = None if torch.is_grad_enabled() else k.new_empty(groups * count * dim * block)
    products = k.new_zeros(groups, count * dim, dim)
    for start in range(0, tokens, block):
        some = slice(start, start + block)
        shape = (groups, count, dim, min(block, tokens - start))
        out = None if buffer is None else buffer[: math.prod(shape)].view(shape)
        weighted = torch.mul(weights[..., some], v[..., some], out=out)
        products = products.baddbmm(weighted.flatten(1, 2), k[:, some])
    return products.view(images, heads, count, dim, dim)


def follow(tangents: Tangents, grouping: Grouping, q: Tensor) -> Tensor:
    """Every query's value by the tangent of its cluster, O_c + J_c (q_i - p_c): [B, H, N, D] of q [B, H, N, D].

    A product for each block of members of one cluster.
    """
    groups, count, dim = grouping.ids[..., 0].numel(), *grouping.prototypes.shape[-2:]
    blocks = cluster_blocks(grouping.ids.view(groups, -1), count, BLOCK)
    own = torch.stack((grouping.prototypes, tangents.outputs), -2).view(-1, 2, dim).index_select(0, blocks.clusters)
    prototype, output = own[:, :1], own[:, 1:]
    first = torch.arange(groups, device=q.device)[:, None] * tangents.derivatives.shape[2]
    point = (tangents.point.reshape(groups, count) + first).flatten().index_select(0, blocks.clusters)
    derivatives = tangents.derivatives.view(-1, dim, dim).index_select(0, point)
    step = blocks.gather(q.view(-1, dim)) - prototype
    return blocks.scatter(torch.baddbmm(output, step, derivatives.mT)).view(q.shape)
