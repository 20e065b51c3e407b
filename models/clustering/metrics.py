"""In which sense two queries are near: as they are, by their logits, or by what the values make of these.

Attention sees a query only through its logits q·k_j / sqrt(D), and softmax ignores what it adds to all of them
alike. So the root mean square, over the keys, of how the logits of two queries differ is

    ‖q1 - q2‖_M = sqrt((q1 - q2) M (q1 - q2)ᵀ),   M = K_cᵀ K_c / (N D),   K_c = keys minus their mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.config import Metric

JITTER = 1e-6
"""Part of a metric's trace that its factor adds to every direction: far above rounding, far below what matters."""


def metric_matrix(metric: Metric, k: Tensor, v: Tensor) -> Tensor | None:
    """M [..., D, D], symmetric and positive semidefinite, of keys and values [..., N, D]; None for `query`.

    `query`: distances of the queries as they are. `key`: the root mean square difference of two queries' logits,
    1/sqrt(D) included. `key-value`: M = J Jᵀ with J the covariance of keys and values over sqrt(D), in units of
    the values' spread (the root of their total variance): by how much, at first order, the outputs of two
    queries that attend everywhere alike would differ; never more than by `key`.
    """
    if metric == "query":
        return None
    tokens, head_dim = k.shape[-2:]
    keys = k - k.mean(-2, keepdim=True)
    if metric == "key":
        return keys.mT @ keys / (tokens * head_dim)
    values = v - v.mean(-2, keepdim=True)
    spread = values.square().sum((-2, -1), keepdim=True) / tokens
    covariance = keys.mT @ values / tokens
    return covariance @ covariance.mT / (head_dim * spread.clamp(min=torch.finfo(v.dtype).tiny))


def metric_multiply_adds(metric: Metric, tokens: int, head_dim: int) -> int:
    """Multiply-adds of `metric_matrix` for one head."""
    products = {"query": 0, "key": tokens * head_dim**2, "key-value": tokens * head_dim**2 + head_dim**3}
    return products[metric]


def metric_factor(matrix: Tensor) -> Tensor:
    """F [..., D, D] with F Fᵀ = M, so that ‖q1 F - q2 F‖ is the metric's distance.

    Cholesky's, in float64: no eigenvectors whose sign or order could change. `JITTER` of the trace on the diagonal
    lets it pass where keys span fewer than D directions, or where all are equal.
    """
    exact = matrix.double()
    trace = exact.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(matrix.shape[-1], dtype=exact.dtype, device=exact.device)
    regular = exact + (JITTER * trace + torch.finfo(torch.float32).tiny) * identity
    factor: Tensor = torch.linalg.cholesky_ex(regular).L
    return factor.to(matrix.dtype)
