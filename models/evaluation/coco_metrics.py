"""COCO's average precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from models.data.coco import GroundTruth
from models.detections import Detections

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """COCO's average precisions, all in 0..1, with at most 100 detections an image.

    `ap` is the mean over IoU 0.50:0.05:0.95 and classes. `by_class` (class name to AP) and `by_size` (small
    under 32², medium under 96² pixels, large) have entries only where there is ground truth.
    """

    ap: float
    ap50: float
    ap75: float
    by_class: dict[str, float]
    by_size: dict[Size, float]


def coco_metrics(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> CocoMetrics:
    """Score predictions against the ground truth of the same images in the same order.

    Boxes of both are in pixels. Raises ValueError for sequences of unequal length or ground truth without any
    object that counts (crowds do not).
    """
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} predictions do not belong to {len(truths)} images")
    classes = all_classes(predictions, truths)
    precision = _precision(truth_index(truths, classes), prediction_index(predictions, classes))
    if (precision < 0).all():
        raise ValueError("there is no ground truth to score against")
    everything = precision[..., 0]
    by_class = {name: mean_precision(everything[:, :, place]) for place, name in enumerate(classes)}
    by_size = {size: mean_precision(precision[..., place]) for place, size in enumerate(SIZES, 1)}
    return CocoMetrics(
        ap=mean_precision(everything) or 0.0,
        ap50=mean_precision(everything[0]) or 0.0,
        ap75=mean_precision(everything[5]) or 0.0,
        by_class={name: ap for name, ap in by_class.items() if ap is not None},
        by_size={size: ap for size, ap in by_size.items() if ap is not None},
    )


def all_classes(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> list[str]:
    """Names of all that was found or is there, in order of the alphabet."""
    labels = [image.labels for image in predictions] + [image.labels for image in truths]
    return sorted(set().union(*labels))


def truth_index(truths: Sequence[GroundTruth], classes: Sequence[str]) -> COCO:
    """Ground truth as COCO's library wants it."""
    rows = []
    for image, truth in enumerate(truths):
        for place, row in enumerate(_rows(image, truth.boxes_xyxy, truth.labels, classes)):
            row["iscrowd"] = 0 if truth.crowd is None else int(truth.crowd[place])
            if truth.areas is not None:
                row["area"] = float(truth.areas[place])
            rows.append(row)
    return _index(rows, len(truths), classes)


def prediction_index(predictions: Sequence[Detections], classes: Sequence[str]) -> COCO:
    """Predictions as COCO's library wants them."""
    rows = []
    for image, found in enumerate(predictions):
        for place, row in enumerate(_rows(image, found.boxes_xyxy, found.labels, classes)):
            rows.append({**row, "score": float(found.scores[place])})
    return _index(rows, len(predictions), classes)


def _rows(
    image: int, boxes_xyxy: NDArray[np.floating[Any]], labels: Sequence[str], classes: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """Yield what annotations of predictions and of ground truth have in common."""
    places = {name: place for place, name in enumerate(classes)}
    for (xmin, ymin, xmax, ymax), label in zip(boxes_xyxy.tolist(), labels, strict=True):
        width, height = xmax - xmin, ymax - ymin
        yield {
            "image_id": image,
            "category_id": places[label],
            "bbox": [xmin, ymin, width, height],
            "area": width * height,
        }


def _index(rows: Sequence[dict[str, Any]], images: int, classes: Sequence[str]) -> COCO:
    """Index annotations of images 0..images-1. Annotations count from 1: 0 means unmatched to the library."""
    return COCO(
        {
            "images": [{"id": image} for image in range(images)],
            "categories": [{"id": place, "name": name} for place, name in enumerate(classes)],
            "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        }
    )


def _precision(truth: COCO, predictions: COCO) -> NDArray[np.float64]:
    """Precision [10 IoUs, 101 recalls, classes, all and 3 sizes]; -1 where there is no ground truth."""
    evaluation = COCOeval_faster(truth, predictions, "bbox", print_function=lambda *_: None)
    evaluation.evaluate()
    evaluation.accumulate()
    precision: NDArray[np.float64] = np.asarray(evaluation.eval["precision"])[..., -1]
    return precision


def mean_precision(precision: NDArray[np.float64]) -> float | None:
    """Mean of the entries that have ground truth; None where none has."""
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else None
