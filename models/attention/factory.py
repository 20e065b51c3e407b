"""Attention strategies made from configurations."""

from __future__ import annotations

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention
from models.attention.strategy import AttentionStrategy
from models.attention.tangent import TangentAttention
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig


def make_attention(config: AttentionConfig) -> AttentionStrategy:
    """The strategy to inject into the encoder.

    Raises ValueError for token merging, which is more than attention: `make_merging` and the settings `in_layers`.
    """
    if config.mode == "merge":
        raise ValueError(f"{config} merges tokens before the encoder; attention by itself cannot")
    if config.mode == "act":
        return ActAttention(config.L, config.r, config.seed, config.metric)
    if config.mode == "kmeans":
        return KMeansAttention(config.C, config.rounds, config.seed, config.metric)
    if config.mode == "tangent":
        return TangentAttention(config.C, config.expansion_points, config.rounds, config.metric)
    return ExactAttention()


def make_merging(config: AttentionConfig) -> TokenMerging | None:
    """What merges the encoder's tokens before its first layer; None where nothing does."""
    return TokenMerging(config.ratio) if config.mode == "merge" else None
