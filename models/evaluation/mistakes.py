"""What is wrong with detections, by kind of mistake: the errors of TIDE (arXiv 2008.08115, section 2.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from models.data.coco import GroundTruth
from models.detections import Detections

Kind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
KINDS: Final[tuple[Kind, ...]] = ("classification", "localisation", "both", "duplicate", "background", "missed")
"""Wrong class; right class but IoU below 0.5; both of these; an object found twice; no object there; an object not
found, and not the one of a wrong class or box either."""

FOREGROUND_IOU: Final = 0.5
BACKGROUND_IOU: Final = 0.1


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of one image's detections and objects.

    `detections` has an entry for each, its kind of mistake, None where it is correct or lies in a crowd; `missed` the
    rows of objects that no detection was meant for, rising.
    """

    detections: tuple[Kind | None, ...]
    missed: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of mistakes."""
        return sum(kind is not None for kind in self.detections) + len(self.missed)


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Mistakes of all images: each kind counted by class, a detection's or a missed object's, and all by image."""

    by_class: dict[str, dict[Kind, int]]
    by_image: tuple[int, ...]

    def count(self, kind: Kind) -> int:
        """Return the number of mistakes of a kind."""
        return sum(kinds.get(kind, 0) for kinds in self.by_class.values())


def mistakes(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> Mistakes:
    """Count the mistakes in predictions, already of the scores and classes that count, of the images in `truths`."""
    counts: dict[str, Counter[Kind]] = {}
    by_image = []
    for detections, truth in zip(predictions, truths, strict=True):
        verdicts = judge(detections, truth)
        by_image.append(len(verdicts))
        wrong = [(label, kind) for label, kind in zip(detections.labels, verdicts.detections, strict=True) if kind]
        missed: list[tuple[str, Kind]] = [(truth.labels[row], "missed") for row in verdicts.missed]
        for label, kind in wrong + missed:
            counts.setdefault(label, Counter())[kind] += 1
    return Mistakes({label: dict(kinds) for label, kinds in sorted(counts.items())}, tuple(by_image))


def judge(detections: Detections, truth: GroundTruth) -> Verdicts:
    """Match one image's detections with its objects, best score first, and say what is wrong with the others."""
    crowd = np.zeros(len(truth.labels), bool) if truth.crowd is None else truth.crowd
    overlaps = _overlaps(detections, truth)
    overlaps[:, crowd] = 0
    same = np.array(detections.labels, object)[:, None] == np.array(truth.labels, object)[None]
    taken_by = _matched(overlaps * same)
    kinds = [
        None if row in taken_by.values() or _in_crowd(box, truth, crowd) else _kind(overlaps[row], same[row])
        for row, box in enumerate(detections.boxes_xyxy)
    ]
    meant = {*taken_by, *(int(overlaps[row].argmax()) for row, kind in enumerate(kinds) if kind == "classification")}
    meant |= {int((overlaps * same)[row].argmax()) for row, kind in enumerate(kinds) if kind == "localisation"}
    return Verdicts(tuple(kinds), tuple(i for i in range(len(crowd)) if i not in meant and not crowd[i]))


def _overlaps(detections: Detections, truth: GroundTruth) -> NDArray[np.float32]:
    """IoU [detections, objects]."""
    objects = torch.from_numpy(truth.boxes_xyxy.astype(np.float32).reshape(-1, 4))
    overlaps: NDArray[np.float32] = box_iou(torch.from_numpy(detections.boxes_xyxy.reshape(-1, 4)), objects).numpy()
    return overlaps


def _matched(overlaps: NDArray[np.float32]) -> dict[int, int]:
    """The detection of each object that is found; overlaps of other classes are 0. Detections come best first."""
    taken_by: dict[int, int] = {}
    for row, of_objects in enumerate(overlaps):
        free = [i for i in np.flatnonzero(of_objects >= FOREGROUND_IOU).tolist() if i not in taken_by]
        if free:
            taken_by[max(free, key=of_objects.__getitem__)] = row
    return taken_by


def _in_crowd(box_xyxy: NDArray[np.float32], truth: GroundTruth, crowd: NDArray[np.bool_]) -> bool:
    """Whether half of a box lies in a crowd: COCO does not count it then."""
    if not crowd.any():
        return False
    crowds = truth.boxes_xyxy[crowd]
    sides = np.minimum(crowds[:, 2:], box_xyxy[2:]) - np.maximum(crowds[:, :2], box_xyxy[:2])
    area = max(float(np.prod(box_xyxy[2:] - box_xyxy[:2])), 1e-9)
    return bool((sides.clip(0).prod(-1) / area >= FOREGROUND_IOU).any())


def _kind(overlaps: NDArray[np.float32], same: NDArray[np.bool_]) -> Kind:
    """The kind of mistake of a detection that found nothing, from its overlaps with the objects."""
    own, other = (float((overlaps * mask).max(initial=0)) for mask in (same, ~same))
    if own >= FOREGROUND_IOU:
        return "duplicate"
    if own >= BACKGROUND_IOU:
        return "localisation"
    if other >= FOREGROUND_IOU:
        return "classification"
    return "both" if other >= BACKGROUND_IOU else "background"
