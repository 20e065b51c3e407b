"""Exact softmax attention."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.strategy import Attended


class ExactAttention:
    """softmax(q kᵀ / sqrt(D)) v by PyTorch's fused kernel."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]."""
        return Attended(scaled_dot_product_attention(q, k, v))

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int = 0) -> int:
        """Q kᵀ and its product with v: 2 N² D a head."""
        return 2 * heads * tokens * tokens * head_dim
