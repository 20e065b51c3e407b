"""What a caller gets who keeps detections from a score on: how many of them are right, how many objects are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.coco import GroundTruth
from models.detections import Detections

THRESHOLD: Final = 0.5
LEAST_IOU: Final = 0.5


@dataclass(frozen=True, slots=True)
class Answers:
    """Detections of a score of at least `threshold`, over all images and the classes that have an object in any.

    `precision` is the share of them that are right, `recall` the share of objects that they find, both in 0..1 and 0
    where there is nothing to share; `per_image` their mean number.
    """

    threshold: float
    precision: float
    recall: float
    per_image: float


def answers(predictions: Sequence[Detections], truths: Sequence[GroundTruth], threshold: float = THRESHOLD) -> Answers:
    """Match as COCO does, at an IoU of 0.5, predictions with the ground truth of the same images in the same order.

    The best detection chooses first, the object of its class that it overlaps most and nobody has; every other on the
    same object is wrong. Crowds need not be found, and what lies in one is neither right nor wrong. Nor is any
    detection of a class without an object in any image: nobody has said where its objects are.
    """
    labelled = labelled_classes(truths)
    right = given = objects = 0
    for found, truth in zip(predictions, truths, strict=True):
        kept = found.select(threshold)
        crowd = np.zeros(len(truth.labels), bool) if truth.crowd is None else truth.crowd
        objects += int((~crowd).sum())
        for name in labelled.intersection(kept.labels):
            boxes = kept.boxes_xyxy[[label == name for label in kept.labels]]
            there = np.array([label == name for label in truth.labels], bool)
            matched = _matched(boxes, truth.boxes_xyxy[there & ~crowd])
            excused = _shares(boxes, truth.boxes_xyxy[there & crowd], crowd=True).max(1, initial=0) >= LEAST_IOU
            right += int(matched.sum())
            given += int((matched | ~excused).sum())
    return Answers(threshold, right / max(1, given), right / max(1, objects), given / max(1, len(truths)))


def labelled_classes(truths: Sequence[GroundTruth]) -> set[str]:
    """The classes that have an object in any image: crowds do not count."""
    return {
        label
        for truth in truths
        for place, label in enumerate(truth.labels)
        if truth.crowd is None or not truth.crowd[place]
    }


def _matched(boxes_xyxy: NDArray[Any], truth_xyxy: NDArray[Any]) -> NDArray[np.bool_]:
    """Which boxes [n, 4], best first, are right: bool [n]."""
    shares = _shares(boxes_xyxy, truth_xyxy)
    right = np.zeros(len(boxes_xyxy), bool)
    for place, row in enumerate(shares):
        if row.max(initial=0) >= LEAST_IOU:
            right[place] = True
            shares[:, row.argmax()] = -1  # taken
    return right


def _shares(boxes_xyxy: NDArray[Any], others_xyxy: NDArray[Any], crowd: bool = False) -> NDArray[np.float64]:
    """IoU [n, m] of boxes [n, 4] and [m, 4]; with a crowd COCO's: the share of the box that lies in it."""
    boxes, others = boxes_xyxy[:, None].astype(np.float64), others_xyxy[None].astype(np.float64)
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    common = sides.clip(0).prod(-1)
    own, theirs = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (boxes, others))
    whole = np.broadcast_to(own, common.shape) if crowd else own + theirs - common
    shares: NDArray[np.float64] = common / np.maximum(whole, np.finfo(np.float64).tiny)
    return shares
