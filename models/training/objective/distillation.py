"""MTKD, multi-task knowledge distillation (ACT): exact and approximate attention become interchangeable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from models.attention_config import AttentionConfig
from models.training.objective.losses import GIOU_WEIGHT, L1_WEIGHT, box_losses
from models.training.processes import global_mean_count

Layers = Literal["all", "last"]
Distance = Literal["squared", "overlap"]

WEIGHTS: Final[dict[Distance, float]] = {"squared": 20.0, "overlap": 1.0}
"""Weights at which the distance pulls at pages-small about as hard as the set loss does, for ACT at L = 16, r = 4."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """Distil the boxes that exact attention gives into those that `attention` gives.

    `distance` says how far boxes are apart: `squared` is the paper's, see `box_distance`, `overlap` ours, see
    `overlap_distance`. `weight` is the paper's lambda. `layers`: the boxes of all decoder layers, or only of the last.
    Raises ValueError for exact attention or a weight below zero.
    """

    attention: AttentionConfig
    weight: float = WEIGHTS["squared"]
    layers: Layers = "all"
    distance: Distance = "squared"

    def __post_init__(self) -> None:
        if self.attention.mode == "exact":
            raise ValueError("exact attention needs no distillation: name another, act:L=16,r=2 say")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"the weight of distillation must be zero or more, not {self.weight}")

    def loss(self, boxes_cxcywh: Tensor, exact_boxes_cxcywh: Tensor, exact_logits: Tensor) -> Tensor:
        """The distance of the chosen layers' boxes [layers, B, Q, 4], not yet weighted.

        `exact_logits` [layers, B, Q, K + 1].
        """
        chosen = slice(None) if self.layers == "all" else slice(-1, None)
        boxes, exact = boxes_cxcywh[chosen], exact_boxes_cxcywh[chosen]
        if self.distance == "squared":
            return box_distance(boxes, exact)
        return overlap_distance(boxes, exact, 1 - exact_logits[chosen].softmax(-1)[..., -1])


def box_distance(boxes_cxcywh: Tensor, exact_boxes_cxcywh: Tensor) -> Tensor:
    """Squared distance of boxes [layers, B, Q, 4] in 0..1 from those of exact attention, which get no gradient.

    Summed over a box's four numbers, a mean over layers, images and queries: its weight means the same for any
    number of these. Every query counts: the encoder's error knows nothing of objects.
    """
    layers, images, queries = boxes_cxcywh.shape[:3]
    squares = (boxes_cxcywh - exact_boxes_cxcywh.detach()).square().sum()
    return squares / (global_mean_count(squares.new_tensor(images)) * layers * queries)


def overlap_distance(boxes_cxcywh: Tensor, exact_boxes_cxcywh: Tensor, confidence: Tensor) -> Tensor:
    """DETR's box loss (5 L1 + 2 (1 - GIoU)) of boxes [layers, B, Q, 4] in 0..1 against those of exact attention.

    A mean over queries, each weighing as much as exact attention is sure, 0..1 [layers, B, Q], that it holds an object.
    So it looks at what will be answered, and at a title's three pixels as hard as at a figure's thirty: squares hardly
    see thin boxes. Exact boxes and confidence get no gradient.
    """
    l1, giou = box_losses(boxes_cxcywh.flatten(0, 2), exact_boxes_cxcywh.detach().flatten(0, 2))
    weight = confidence.detach().flatten()
    return ((L1_WEIGHT * l1 + GIOU_WEIGHT * giou) * weight).sum() / global_mean_count(weight.sum())
