"""Which detections of two results for one image are of the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.detections import Detections, box_ious

MIN_IOU: Final = 0.5
"""Min IoU of a pair, as in average precision at 0.5."""
_MAX_PAIRS_AT_ONCE: Final = 2**18
"""Pairs of boxes that are looked at together: bounds the memory for long lists."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two detections of one object, by their rows; their IoU, and the right score less the left one, -1..1."""

    left: int
    right: int
    iou: float
    score_difference: float


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs, and the rows that only one side has; all rise, pairs by their left row."""

    pairs: tuple[Pair, ...]
    only_left: tuple[int, ...]
    only_right: tuple[int, ...]


def match(left: Detections, right: Detections, min_iou: float = MIN_IOU) -> Matching:
    """Pair detections of one label whose IoU is at least `min_iou`, above 0 to 1.

    It is greedy: the pair that overlaps most is taken first, and either of its detections is in no other pair. Of equal
    overlaps, the one with the better left detection comes first, then that with the better right one. Exchanging the
    sides exchanges the pairs' rows, unless overlaps are equal.
    """
    lefts, rights, ious = _candidates(left, right, min_iou)
    order = np.lexsort((rights, lefts, -ious))
    taken_left, taken_right, pairs = set[int](), set[int](), list[Pair]()
    for row, column, iou in zip(lefts[order].tolist(), rights[order].tolist(), ious[order].tolist(), strict=True):
        if row not in taken_left and column not in taken_right:
            taken_left.add(row)
            taken_right.add(column)
            pairs.append(Pair(row, column, iou, float(right.scores[column]) - float(left.scores[row])))
    return Matching(
        tuple(sorted(pairs, key=lambda pair: pair.left)),
        tuple(row for row in range(len(left)) if row not in taken_left),
        tuple(row for row in range(len(right)) if row not in taken_right),
    )


def _candidates(
    left: Detections, right: Detections, min_iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows [n] of the left, rows [n] of the right, and IoU [n], of those of one label that overlap enough."""
    left_labels, right_labels = np.array(left.labels, object), np.array(right.labels, object)
    nothing = np.zeros(0, np.int64)
    parts = [(nothing, nothing, np.zeros(0, np.float32))]
    for label in dict.fromkeys(left.labels):
        rows, columns = np.flatnonzero(left_labels == label), np.flatnonzero(right_labels == label)
        step = max(1, _MAX_PAIRS_AT_ONCE // max(1, len(columns)))
        for block in (rows[start : start + step] for start in range(0, len(rows), step)):
            ious = box_ious(left.boxes_xyxy[block], right.boxes_xyxy[columns])
            i, j = np.nonzero(ious >= min_iou)
            parts.append((block[i], columns[j], ious[i, j]))
    lefts, rights, overlaps = zip(*parts, strict=True)
    return np.concatenate(lefts), np.concatenate(rights), np.concatenate(overlaps)
