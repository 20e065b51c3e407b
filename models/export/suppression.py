"""Non-maximum suppression in fixed shapes, for graphs: nothing is sorted, no number of boxes is read back."""

from __future__ import annotations

import torch
from torch import Tensor


def kept(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, nms: float) -> Tensor:
    """Which boxes `models.detections.Detections.select` keeps with this `nms`: bool [B, Q].

    `boxes_xyxy` [B, Q, 4] in any unit, `scores` [B, Q], `labels` int64 [B, Q]. Of equal scores the first query is the
    better one. A box is kept unless a better one of its class that is kept overlaps it by more than `nms`. Each round
    settles the boxes whose better ones are settled, so that as many rounds as there are boxes settle all.
    """
    rivals = (_overlaps(boxes_xyxy) > nms) & (labels[:, :, None] == labels[:, None]) & _better(scores)
    rivals_of = rivals.to(scores.dtype)
    keep = torch.ones_like(scores)[..., None]
    for _ in range(scores.shape[-1]):
        keep = (torch.bmm(rivals_of, keep) < 0.5).to(scores.dtype)
    return keep[..., 0] > 0.5


def _better(scores: Tensor) -> Tensor:
    """Whether query j comes before query i: bool [B, Q (i), Q (j)]."""
    query = torch.arange(scores.shape[-1], device=scores.device)
    own, others = scores[:, :, None], scores[:, None]
    return (others > own) | ((others == own) & (query < query[:, None]))


def _overlaps(boxes_xyxy: Tensor) -> Tensor:
    """Intersection over union [B, Q, Q]; 0 where neither box has an area."""
    own, others = boxes_xyxy[:, :, None], boxes_xyxy[:, None]
    low, high = torch.maximum(own[..., :2], others[..., :2]), torch.minimum(own[..., 2:], others[..., 2:])
    sides = (high - low).clamp(min=0)
    intersections = sides[..., 0] * sides[..., 1]
    extents = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    areas = extents[..., 0] * extents[..., 1]
    unions = areas[:, :, None] + areas[:, None] - intersections
    return intersections / torch.where(unions > 0, unions, torch.ones_like(unions))
