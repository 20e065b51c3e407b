"""COCO's average precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """COCO's average precisions, all in 0..1, with at most 100 detections per image.

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
    evaluator = coco_evaluator(predictions, truths, classes)
    evaluator.evaluate()
    evaluator.accumulate()
    # [10 IoUs, 101 recalls, classes, all and 3 sizes]; -1 where there is no ground truth
    precision = np.asarray(evaluator.eval["precision"])[..., -1]
    if (precision < 0).all():
        raise ValueError("there is no ground truth to score against")
    all_sizes = precision[..., 0]
    by_class = {name: mean_precision(all_sizes[:, :, i]) for i, name in enumerate(classes)}
    by_size = {size: mean_precision(precision[..., i]) for i, size in enumerate(SIZES, 1)}
    return CocoMetrics(
        ap=mean_precision(all_sizes) or 0.0,
        ap50=mean_precision(all_sizes[0]) or 0.0,
        ap75=mean_precision(all_sizes[5]) or 0.0,
        by_class={name: ap for name, ap in by_class.items() if ap is not None},
        by_size={size: ap for size, ap in by_size.items() if ap is not None},
    )


def mean_precision(precision: NDArray[np.float64]) -> float | None:
    """Mean of the entries that have ground truth; None where none has."""
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else None


def all_classes(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> list[str]:
    """Class names of all predictions and all ground truth, in alphabetical order."""
    labels = [image.labels for image in predictions] + [image.labels for image in truths]
    return sorted(set().union(*labels))


def coco_evaluator(
    predictions: Sequence[Detections],
    truths: Sequence[GroundTruth],
    classes: Sequence[str],
    by_size: bool = True,
    separate_eval: bool = False,
) -> COCOeval_faster:
    """COCO's evaluator of boxes, before it runs; it prints nothing.

    Without `by_size` it takes objects of all sizes together. `separate_eval` lets matches be accumulated apart.
    """
    objects, detections = [], []
    for image, (truth, detected) in enumerate(zip(truths, predictions, strict=True)):
        for i, row in enumerate(_rows(image, truth.boxes_xyxy, truth.labels, classes)):
            row["iscrowd"] = 0 if truth.crowd is None else int(truth.crowd[i])
            if truth.areas is not None:
                row["area"] = float(truth.areas[i])
            objects.append(row)
        for score, row in zip(
            detected.scores.tolist(), _rows(image, detected.boxes_xyxy, detected.labels, classes), strict=True
        ):
            detections.append({**row, "score": score})
    evaluator = COCOeval_faster(
        _index(objects, len(truths), classes),
        _index(detections, len(truths), classes),
        "bbox",
        print_function=lambda *_: None,
        separate_eval=separate_eval,
    )
    if not by_size:
        parameters = evaluator.params
        parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
        parameters.maxDets = parameters.maxDets[-1:]
    return evaluator


def _rows(
    image: int, boxes_xyxy: NDArray[np.floating[Any]], labels: Sequence[str], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the part that annotations of predictions and of ground truth share."""
    categories = {name: i for i, name in enumerate(classes)}
    for (xmin, ymin, xmax, ymax), label in zip(boxes_xyxy.tolist(), labels, strict=True):
        width, height = xmax - xmin, ymax - ymin
        yield {
            "image_id": image,
            "category_id": categories[label],
            "bbox": [xmin, ymin, width, height],
            "area": width * height,
        }


def _index(rows: Sequence[dict[str, Any]], images: int, classes: Sequence[str]) -> COCO:
    """Index annotations of images 0..images-1. Their ids start at 1: the library takes 0 for unmatched."""
    return COCO(
        {
            "images": [{"id": image} for image in range(images)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, 1)],
        }
    )
