"""What precision would be if every box were right: how much of what is missing is localization, how much the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torchvision.ops import box_iou

from models.data.coco import GroundTruth
from models.detections import Detections

LEAST_IOU: Final = 0.1
"""From here on a box is taken to be meant for an object (TIDE, arXiv 2008.08115)."""


def localized(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> list[Detections]:
    """The same detections, each in the box of the object of its class that it overlaps most, if any by 0.1.

    Scores, classes and duplicates stay as they are, and so do boxes that are meant for no object. Crowds are none.
    """
    return [_localized(found, truth) for found, truth in zip(predictions, truths, strict=True)]


def _localized(found: Detections, truth: GroundTruth) -> Detections:
    if not len(found) or not len(truth.labels):
        return found
    objects = truth.boxes_xyxy.astype(np.float32)
    iou = box_iou(torch.from_numpy(found.boxes_xyxy), torch.from_numpy(objects)).numpy()
    iou[np.array(found.labels)[:, None] != np.array(truth.labels)[None]] = 0
    if truth.crowd is not None:
        iou[:, truth.crowd] = 0
    meant = iou.max(1) >= LEAST_IOU
    return Detections(np.where(meant[:, None], objects[iou.argmax(1)], found.boxes_xyxy), found.scores, found.labels)
