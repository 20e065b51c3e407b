"""How much of a difference in average precision is chance: images drawn again, with the matches already made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import faster_coco_eval.faster_eval_api_cpp as coco
import numpy as np
from faster_coco_eval import COCOeval_faster
from numpy.typing import NDArray

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.coco_metrics import all_classes, mean_precision, prediction_index, truth_index

RESAMPLES: Final = 200
COVERED: Final = 95.0
"""Percent of the resampled differences that an interval holds."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Where a loss, in points of 100, would lie on other images: `low` to `high`; `error`, its standard error."""

    low: float
    high: float
    error: float


def resampled_ap(
    predictions: Sequence[Detections], truths: Sequence[GroundTruth], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, ...]:
    """AP in 0..1 on as many images drawn from these with replacement, again and again.

    Equal numbers of images and equal seeds draw the same images: what two models, or two kinds of attention, get
    from equal draws may be compared pair by pair. Images are matched with the ground truth once, so that a draw takes
    milliseconds. Classes that a draw has no object of are left out of its mean; one without any object counts 0.
    """
    matches, parameters = _matches(predictions, truths)
    draws = np.random.default_rng(seed).integers(len(truths), size=(resamples, len(truths)))
    return tuple(_ap(matches[:, draw], parameters) for draw in draws)


def chance(reference: Sequence[float], other: Sequence[float]) -> Chance:
    """What `other` loses against `reference`, resampled alike, both AP in 0..1."""
    if len(reference) != len(other) or len(other) < 2:
        raise ValueError(f"{len(reference)} and {len(other)} resamples do not make pairs")
    lost = 100 * (np.asarray(reference) - np.asarray(other))
    low, high = np.percentile(lost, ((100 - COVERED) / 2, (100 + COVERED) / 2))
    return Chance(float(low), float(high), float(lost.std(ddof=1)))


def _matches(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> tuple[NDArray[Any], Any]:
    """What COCO's library found in each class and image, [classes, images], and its parameters."""
    classes = all_classes(predictions, truths)
    evaluation = COCOeval_faster(
        truth_index(truths, classes),
        prediction_index(predictions, classes),
        "bbox",
        print_function=lambda *_: None,
        separate_eval=True,
    )
    parameters = evaluation.params
    parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
    parameters.maxDets = parameters.maxDets[-1:]
    evaluation.evaluate()
    matches = np.empty(len(classes) * len(truths), object)
    matches[:] = evaluation._evalImgs_cpp
    return matches.reshape(len(classes), len(truths)), evaluation._paramsEval


def _ap(matches: NDArray[Any], parameters: Any) -> float:
    precision = np.asarray(coco.COCOevalAccumulate(parameters, matches.ravel().tolist())["precision"])
    return mean_precision(precision) or 0.0
