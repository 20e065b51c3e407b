"""Precision and recall of the detections from a score threshold up: a model at its operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.coco_metrics import all_classes, coco_evaluator

THRESHOLD: Final = 0.5
MIN_IOU: Final = 0.5


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Detections of a score of at least `threshold`, over all images and the classes that have an object in any.

    `precision` is the share of detections that are correct, `recall` the share of objects that are detected, both in
    0..1 and 0 where there are none to share; `per_image` is the mean number of detections.
    """

    threshold: float
    precision: float
    recall: float
    per_image: float


def operating_point(
    predictions: Sequence[Detections], truths: Sequence[GroundTruth], threshold: float = THRESHOLD
) -> OperatingPoint:
    """Match predictions with the ground truth of the same images as COCO does, at an IoU of 0.5.

    In order of score, each detection takes the unmatched object of its class that it overlaps most; without one it
    is wrong. Crowds need not be detected, and detections that lie in one do not count. Nor do those of a class that
    has no object in any image: the data set does not label it.
    """
    labelled = labelled_classes(truths)
    kept = [detections.select(threshold, labels=labelled) for detections in predictions]
    evaluator = coco_evaluator(kept, truths, all_classes(kept, truths), by_size=False)
    evaluator.params.iouThrs = np.array([MIN_IOU])
    evaluator.params.maxDets = [1 + max(map(len, kept), default=0)]  # all of them, not COCO's 100
    evaluator.evaluate()
    evaluator.accumulate()
    objects = evaluator.cocoGt.anns
    matched_ids = [int(pair.split("_")[1]) for pair in evaluator.eval["matched"]]  # "detection_object"
    in_crowds = sum(objects[i]["iscrowd"] for i in matched_ids)
    correct, counted = len(matched_ids) - in_crowds, sum(map(len, kept)) - in_crowds
    wanted = sum(not row["iscrowd"] for row in objects.values())
    return OperatingPoint(threshold, correct / max(1, counted), correct / max(1, wanted), counted / max(1, len(truths)))


def labelled_classes(truths: Sequence[GroundTruth]) -> set[str]:
    """The classes that have an object in any image; crowds are no objects."""
    return {
        label for truth in truths for i, label in enumerate(truth.labels) if truth.crowd is None or not truth.crowd[i]
    }
