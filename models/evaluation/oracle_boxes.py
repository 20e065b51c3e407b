"""Detections with true boxes, which tell localization errors from all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torchvision.ops import box_iou

from models.data.coco import GroundTruth
from models.detections import Detections

MIN_IOU: Final = 0.1
"""From this IoU on, a box is taken to be meant for an object (TIDE, arXiv 2008.08115)."""


def with_true_boxes(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> list[Detections]:
    """Give each detection the box of the object of its class that it overlaps most, if the IoU is at least 0.1.

    Scores, classes and duplicates stay as they are, and so do the other boxes. Crowds are no objects.
    """
    return [_with_true_boxes(detections, truth) for detections, truth in zip(predictions, truths, strict=True)]


def _with_true_boxes(detections: Detections, truth: GroundTruth) -> Detections:
    if not len(detections) or not len(truth.labels):
        return detections
    objects = truth.boxes_xyxy.astype(np.float32)
    iou = box_iou(torch.from_numpy(detections.boxes_xyxy), torch.from_numpy(objects)).numpy()
    iou[np.array(detections.labels)[:, None] != np.array(truth.labels)[None]] = 0
    if truth.crowd is not None:
        iou[:, truth.crowd] = 0
    meant = iou.max(1, keepdims=True) >= MIN_IOU
    boxes = np.where(meant, objects[iou.argmax(1)], detections.boxes_xyxy)
    return Detections(boxes, detections.scores, detections.labels)
