"""MTKD, multi-task knowledge distillation (ACT): exact and approximate attention become interchangeable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.attention.choice import strategy
from models.attention.strategy import Attended, AttentionStrategy
from models.config import AttentionConfig
from models.training.processes import shared_count

Layers = Literal["all", "last"]


@dataclass(frozen=True, slots=True)
class Distillation:
    """Distil the boxes that exact attention gives into those that `attention` gives.

    `weight` is the paper's lambda; by default the distance then pulls at the weights of pages-small about as hard as
    the set loss does, for ACT at L = 16, r = 4. `layers`: the boxes of all decoder layers, or of the last alone. Raises
    ValueError for exact attention or a weight below zero.
    """

    attention: AttentionConfig
    weight: float = 20.0
    layers: Layers = "all"

    def __post_init__(self) -> None:
        if self.attention.mode == "exact":
            raise ValueError("exact attention needs no distillation: name another, act:L=16,r=2 say")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of distillation must be zero or more, not {self.weight}")

    def strategy(self) -> AttentionStrategy:
        """The attention to distil into, for the encoder."""
        return FullPrecision(strategy(self.attention))

    def loss(self, boxes_cxcywh: Tensor, exact_boxes_cxcywh: Tensor) -> Tensor:
        """`box_distance` of the chosen layers' boxes [layers, B, Q, 4], not yet weighted."""
        chosen = slice(None) if self.layers == "all" else slice(-1, None)
        return box_distance(boxes_cxcywh[chosen], exact_boxes_cxcywh[chosen])


def box_distance(boxes_cxcywh: Tensor, exact_boxes_cxcywh: Tensor) -> Tensor:
    """Squared distance of boxes [layers, B, Q, 4] in 0..1 from those of exact attention, which get no gradient.

    Summed over a box's four numbers, a mean over layers, images and queries: its weight means the same for any
    number of these. Every query counts: the encoder's error knows nothing of objects.
    """
    layers, images, queries = boxes_cxcywh.shape[:3]
    squares = (boxes_cxcywh - exact_boxes_cxcywh.detach()).square().sum()
    return squares / (shared_count(squares.new_tensor(images)) * layers * queries)


@dataclass(frozen=True, slots=True)
class FullPrecision:
    """Another attention, computed in float32 whatever runs around it: clusters should be those of serving."""

    attention: AttentionStrategy

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]; values come back in v's dtype."""
        with torch.autocast(q.device.type, enabled=False):
            full = torch.promote_types(q.dtype, torch.float32)
            attended = self.attention(q.to(full), k.to(full), v.to(full))
        return Attended(attended.values.to(v.dtype), attended.cluster_counts)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """What the attention itself takes."""
        return self.attention.multiply_adds(tokens, heads, head_dim, clusters)
