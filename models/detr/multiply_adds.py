"""What the encoder costs, in multiply-adds, counted from shapes and cluster counts."""

from __future__ import annotations

from models.attention.strategy import AttentionStrategy
from models.config import DetrConfig


def encoder_multiply_adds(
    config: DetrConfig, attention: AttentionStrategy, tokens: int, clusters_by_layer: list[int]
) -> int:
    """Multiply-adds of the encoder for one image of `tokens` tokens.

    Four projections and the feed-forward of every layer, and its attention by the strategy's own account;
    `clusters_by_layer` sums the clusters of a layer's heads (anything where nothing is clustered). Norms, biases,
    softmax and the mean and broadcast of clusters are not multiply-adds of matrix products and are left out.
    """
    projections = 4 * tokens * config.hidden_dim**2
    feed_forward = 2 * tokens * config.hidden_dim * config.feedforward_dim
    attended = sum(
        attention.multiply_adds(tokens, config.heads, config.head_dim, clusters) for clusters in clusters_by_layer
    )
    return config.encoder_layers * (projections + feed_forward) + attended
