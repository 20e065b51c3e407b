"""The transformer decoder: object queries attend to each other and to one image's packed tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from models.attention.multihead import MultiheadAttention
from models.config import DetrConfig
from models.images import PackedTokens


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each with a residual."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.self_attn = MultiheadAttention(config.hidden_dim, config.heads)
        self.multihead_attn = MultiheadAttention(config.hidden_dim, config.heads)
        self.linear1 = nn.Linear(config.hidden_dim, config.feedforward_dim)
        self.linear2 = nn.Linear(config.feedforward_dim, config.hidden_dim)
        self.norm1 = nn.LayerNorm(config.hidden_dim)
        self.norm2 = nn.LayerNorm(config.hidden_dim)
        self.norm3 = nn.LayerNorm(config.hidden_dim)

    def forward(self, x: Tensor, queries: Tensor, memory: PackedTokens, mask: Tensor | None) -> Tensor:
        """X [B, Q, d], query embeddings [Q, d], memory of B images; mask bool [Q, Q], True: may look."""
        if self.pre_norm:
            x = x + self.attend_queries(self.norm1(x), queries, mask)
            x = x + self.attend_memory(self.norm2(x), queries, memory)
            return x + self.feed_forward(self.norm3(x))
        x = self.norm1(x + self.attend_queries(x, queries, mask))
        x = self.norm2(x + self.attend_memory(x, queries, memory))
        out: Tensor = self.norm3(x + self.feed_forward(x))
        return out

    def attend_queries(self, x: Tensor, queries: Tensor, mask: Tensor | None) -> Tensor:
        """Queries look at each other: [B, Q, d] to [B, Q, d]."""
        q, k = self.self_attn.project(x + queries, 0, 2)
        (v,) = self.self_attn.project(x, 2, 3)
        return self.self_attn.attend_dense(q, k, v, mask)

    def attend_memory(self, x: Tensor, queries: Tensor, memory: PackedTokens) -> Tensor:
        """Queries look at their own image: [B, Q, d] to [B, Q, d]."""
        (q,) = self.multihead_attn.project(x + queries, 0, 1)
        (k,) = self.multihead_attn.project(memory.values + memory.positions, 1, 2)
        (v,) = self.multihead_attn.project(memory.values, 2, 3)
        return self.multihead_attn.attend_images(q, k, v, memory)

    def feed_forward(self, x: Tensor) -> Tensor:
        """[B, Q, d] to [B, Q, d]."""
        out: Tensor = self.linear2(relu(self.linear1(x)))
        return out


class Decoder(nn.Module):
    """A stack of layers with one norm at the end, applied to every layer's output."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.norm_between = config.norm_between_decoder_layers
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.hidden_dim)

    def forward(self, queries: Tensor, memory: PackedTokens, mask: Tensor | None = None) -> Tensor:
        """Query embeddings [Q, d] to the normed outputs of all layers [layers, B, Q, d].

        `mask` bool [Q, Q] is True where a query may look at another; None: everywhere.
        """
        x = queries.new_zeros(len(memory.lengths), *queries.shape)
        outputs = []
        for layer in self.layers:
            x = layer(x, queries, memory, mask)
            if self.norm_between:
                x = self.norm(x)
            outputs.append(self.norm(x))
        return torch.stack(outputs)
