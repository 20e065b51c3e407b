"""Bucket widths r that lead to wanted ratios of clusters to tokens, measured on a model's own queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.attention.layer_inputs import AttentionInputs
from models.attention_config import Metric
from models.clustering.lsh import bucket_keys, hash_buckets, hash_planes
from models.clustering.metrics import metric_factor, metric_matrix
from models.clustering.prototypes import assign_clusters

WIDTHS = 2.0 ** np.arange(-4, 6.5, 0.5)
"""Bucket widths to try, in units of the queries' root mean square distance from their mean."""


@torch.inference_mode()
def bucket_widths(
    layers: Sequence[AttentionInputs], L: int, ratios: Sequence[float], metric: Metric = "query", seed: int = 0
) -> list[float]:
    """Return, for each wanted mean C/N (over layers and heads), r to two digits, interpolated between `WIDTHS`.

    `layers` may be those of several images. A ratio out of reach gets the r at the nearest end.
    """
    hashed = [hashed_queries(layer, metric) for layer in layers]
    scale = float(np.mean([float((x - x.mean(-2, keepdim=True)).square().sum(-1).mean().sqrt()) for x in hashed]))
    widths = WIDTHS * (scale or 1.0)
    measured = [float(np.mean([cluster_ratio(x, L, r, seed) for x in hashed])) for r in widths]
    falling = np.minimum.accumulate(measured)
    interpolated = np.exp(np.interp(ratios, falling[::-1], np.log(widths)[::-1]))
    return [float(f"{r:.2g}") for r in interpolated]


def hashed_queries(layer: AttentionInputs, metric: Metric) -> Tensor:
    """Return the vectors [H, N, D] that ACT hashes in this metric, in the units of r."""
    matrix = metric_matrix(metric, layer.k[0])
    return layer.scaled_queries if matrix is None else layer.q[0] @ metric_factor(matrix)


def cluster_ratio(hashed: Tensor, L: int, r: float, seed: int) -> float:
    """Return the mean C/N over the heads of hashed queries [H, N, D]."""
    planes = hash_planes(hashed.shape[-1], L, seed, hashed.device, hashed.dtype)
    counts = assign_clusters(bucket_keys(hash_buckets(hashed, planes, r))).counts
    return float(counts.double().mean()) / hashed.shape[-2]
