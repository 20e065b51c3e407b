"""Hungarian matching of predictions to ground truth (DETR, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import generalized_box_iou_loss

from models.boxes import cxcywh_to_xyxy

CLASS_COST: Final = 1.0
L1_COST: Final = 5.0
GIOU_COST: Final = 2.0


class NotFinite(ValueError):
    """A model whose numbers have become infinite or none: its training has failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """Ground truth of one image: `labels` int64 [n] in 0..K-1; `boxes_cxcywh` float [n, 4] in 0..1."""

    labels: Tensor
    boxes_cxcywh: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class PaddedTargets:
    """Ground truth of B images, padded to the fullest one, with room for at least one object.

    `labels` int64 [B, n]; `boxes_cxcywh` float [B, n, 4]; `real` bool [B, n], False where there is padding.
    """

    labels: Tensor
    boxes_cxcywh: Tensor
    real: Tensor

    @classmethod
    def from_targets(cls, targets: Sequence[Target], like: Tensor) -> PaddedTargets:
        """Pad, on the device of `like` and with its dtype for the boxes."""
        counts = torch.tensor([len(target) for target in targets])
        room = max(1, int(counts.max()))
        filler = like.new_zeros(room, 4)
        labels = pad_sequence([filler[:, 0].long(), *(target.labels.to(like.device) for target in targets)], True)
        boxes = pad_sequence([filler, *(target.boxes_cxcywh.to(like) for target in targets)], True)
        real = torch.arange(room) < counts[:, None]
        return cls(labels[1:], boxes[1:], real.to(like.device))


@torch.no_grad()
def match(
    logits: Tensor, boxes_cxcywh: Tensor, targets: Sequence[Target], repeats: int = 1
) -> list[tuple[Tensor, Tensor]]:
    """Assign predictions to ground truth at the least total cost, image by image.

    Takes logits [B, Q, K + 1] and boxes_cxcywh [B, Q, 4] in 0..1. Returns for every image (query indices,
    target indices), int64 on the CPU, of equal length min(Q, repeats x n), query indices rising. Every ground
    truth is matched up to `repeats` times (one-to-many matching, H-DETR, arXiv 2207.13080).

    Raises NotFinite, naming the image, where a cost is not finite, and ValueError for a number of targets other than B.
    """
    if len(targets) != len(logits):
        raise ValueError(f"{len(logits)} predictions cannot be matched to {len(targets)} targets")
    costs = matching_cost(logits, boxes_cxcywh, PaddedTargets.from_targets(targets, boxes_cxcywh))
    by_image = costs.cpu().numpy()
    return [_assign(by_image[image, :, : len(target)], repeats, image) for image, target in enumerate(targets)]


def matching_cost(logits: Tensor, boxes_cxcywh: Tensor, targets: PaddedTargets) -> Tensor:
    """Cost float [B, Q, n] of every query for every ground truth of its image: -p + 5 L1 - 2 GIoU.

    Padding has a cost too, without meaning. Reduced precision is computed as float32.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    queries, objects = logits.shape[1], targets.labels.shape[1]
    labels = targets.labels[:, None].expand(-1, queries, -1)
    probability = logits.to(dtype).softmax(-1).gather(-1, labels)
    predicted = boxes_cxcywh.to(dtype)[:, :, None].expand(-1, -1, objects, -1)
    wanted = targets.boxes_cxcywh.to(dtype)[:, None].expand(-1, queries, -1, -1)
    l1 = (predicted - wanted).abs().sum(-1)
    giou = 1 - generalized_box_iou_loss(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(wanted))
    cost: Tensor = L1_COST * l1 - CLASS_COST * probability - GIOU_COST * giou
    return cost


def _assign(cost: NDArray[np.floating], repeats: int, image: int) -> tuple[Tensor, Tensor]:
    """Solve one image's cost [Q, n], every ground truth standing `repeats` times."""
    if not np.isfinite(cost).all():
        raise NotFinite(f"the matching cost of image {image} is not finite")
    queries, objects = linear_sum_assignment(np.tile(cost, (1, repeats)))
    return torch.from_numpy(queries), torch.from_numpy(objects % max(1, cost.shape[1]))
