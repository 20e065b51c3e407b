"""Distance between two queries: Euclidean, or by the logits that they give the keys.

Attention sees a query only through its logits q·k_j / sqrt(D), and softmax ignores what it adds to all of them
alike. So the root mean square, over the keys, of how the logits of two queries differ is

    ‖q1 - q2‖_M = sqrt((q1 - q2) M (q1 - q2)ᵀ),   M = K_cᵀ K_c / (N D),   K_c = keys minus their mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.attention_config import Metric

JITTER = 1e-6
"""Part of a metric's trace that its factor adds to every direction: far above rounding, far below what matters."""


def metric_matrix(metric: Metric, k: Tensor) -> Tensor | None:
    """M [..., D, D], symmetric and positive semidefinite, of keys [..., N, D]; None for `query`.

    `query`: the Euclidean distance of the queries. `key`: the root mean square difference of two queries' logits,
    1/sqrt(D) included.
    """
    if metric == "query":
        return None
    tokens, head_dim = k.shape[-2:]
    keys = k - k.mean(-2, keepdim=True)
    return keys.mT @ keys / (tokens * head_dim)


def metric_multiply_adds(metric: Metric, tokens: int, head_dim: int) -> int:
    """Multiply-adds of `metric_matrix` for one head."""
    return 0 if metric == "query" else tokens * head_dim**2


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
