"""The transformer encoder over packed tokens, with an injected attention strategy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from models.attention.multihead import MultiheadAttention
from models.attention.strategy import AttentionStrategy
from models.attention.token_merging import TokenMerging
from models.config import DetrConfig
from models.images import PackedTokens


@dataclass(frozen=True, slots=True)
class Encoded:
    """`tokens` holds the encoder's output; `cluster_counts` int64 [B, layers, H], None where nothing is clustered.

    `merged_lengths` has how many tokens of each image attended, where some were merged into others; None: all did.
    """

    tokens: PackedTokens
    cluster_counts: Tensor | None
    merged_lengths: tuple[int, ...] | None = None


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual; norm after (as published) or before."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.self_attn = MultiheadAttention(config.hidden_dim, config.heads)
        self.linear1 = nn.Linear(config.hidden_dim, config.feedforward_dim)
        self.linear2 = nn.Linear(config.feedforward_dim, config.hidden_dim)
        self.norm1 = nn.LayerNorm(config.hidden_dim)
        self.norm2 = nn.LayerNorm(config.hidden_dim)

    def forward(self, tokens: PackedTokens, attention: AttentionStrategy) -> tuple[PackedTokens, list[Tensor | None]]:
        """Tokens [T, d] to tokens [T, d], and the strategy's cluster counts, a dense run of images each."""
        x = tokens.values
        if self.pre_norm:
            attended, counts = self.self_attn.attend_packed(tokens.with_values(self.norm1(x)), attention)
            x = x + attended
            x = x + self.feed_forward(self.norm2(x))
        else:
            attended, counts = self.self_attn.attend_packed(tokens, attention)
            x = self.norm1(x + attended)
            x = self.norm2(x + self.feed_forward(x))
        return tokens.with_values(x), counts

    def feed_forward(self, x: Tensor) -> Tensor:
        """[T, d] to [T, d]."""
        out: Tensor = self.linear2(relu(self.linear1(x)))
        return out


class Encoder(nn.Module):
    """A stack of layers; a last norm only with norm before."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.hidden_dim) if config.pre_norm else None

    def forward(
        self, tokens: PackedTokens, attention: AttentionStrategy, merging: TokenMerging | None = None
    ) -> Encoded:
        """Run every layer with the given strategy, on tokens merged before the first and restored after the last."""
        if merging is None:
            return self._run(tokens, attention)
        merged = merging(tokens)
        encoded = self._run(merged.tokens, attention)
        restored = tokens.with_values(merged.restored(encoded.tokens.values))
        return Encoded(restored, encoded.cluster_counts, merged.tokens.lengths)

    def _run(self, tokens: PackedTokens, attention: AttentionStrategy) -> Encoded:
        by_layer = []
        for layer in self.layers:
            tokens, counts = layer(tokens, attention)
            by_layer.append(counts)
        if self.norm is not None:
            tokens = tokens.with_values(self.norm(tokens.values))
        return Encoded(tokens, _stack_counts(by_layer))


def _stack_counts(by_layer: list[list[Tensor | None]]) -> Tensor | None:
    """Counts by layer and run of images to [B, layers, H]."""
    layers = [[counts for counts in runs if counts is not None] for runs in by_layer]
    if not all(layers):
        return None
    return torch.stack([torch.cat(runs) for runs in layers], 1)
