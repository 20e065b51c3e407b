"""Attention strategies made from configurations, and the configuration that `auto` stands for."""

from __future__ import annotations

from typing import Final

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention
from models.attention.strategy import AttentionStrategy
from models.attention.tangent import TangentAttention
from models.config import AttentionConfig

AUTO_MIN_TOKENS: Final = 2000
"""Encoder tokens from which on `auto` clusters."""


def make_attention(config: AttentionConfig) -> AttentionStrategy:
    """The strategy to inject into the encoder."""
    if config.mode == "act":
        return ActAttention(config.L, config.r, config.seed, config.metric)
    if config.mode == "kmeans":
        return KMeansAttention(config.C, config.rounds, config.seed, config.metric)
    if config.mode == "tangent":
        return TangentAttention(config.C, config.expansion_points, config.rounds, config.metric)
    return ExactAttention()


def auto_attention(tokens: int, large: AttentionConfig) -> AttentionConfig:
    """Exact attention for few tokens, `large` from `AUTO_MIN_TOKENS` on."""
    return large if tokens >= AUTO_MIN_TOKENS else AttentionConfig.exact()
