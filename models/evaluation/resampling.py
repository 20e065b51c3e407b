"""A paired bootstrap of average precision over images, on matches that are made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import faster_coco_eval.faster_eval_api_cpp as coco
import numpy as np
from numpy.typing import NDArray

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.coco_metrics import all_classes, coco_evaluator, mean_precision

RESAMPLES: Final = 200
COVERED: Final = 95.0
"""Percent of the resampled differences that an interval covers."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Interval `low` to `high` and standard `error` of a loss, in points of 100, over other images of the kind."""

    low: float
    high: float
    error: float


def resampled_ap(
    predictions: Sequence[Detections], truths: Sequence[GroundTruth], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, ...]:
    """AP in 0..1 on each of `resamples` draws of as many images, with replacement.

    Equal numbers of images and equal seeds draw the same images, so the results of two models or two attention
    settings may be compared pair by pair. Images are matched with the ground truth once, so that a draw takes
    milliseconds. A draw's mean leaves out classes without an object in it; a draw without any object counts 0.
    """
    matches, parameters = _matches(predictions, truths)
    draws = np.random.default_rng(seed).integers(len(truths), size=(resamples, len(truths)))
    return tuple(_ap(matches[:, draw], parameters) for draw in draws)


def chance(reference: Sequence[float], other: Sequence[float]) -> Chance:
    """Return the loss of `other` against `reference`, both AP in 0..1 on the same draws."""
    if len(reference) != len(other) or len(other) < 2:
        raise ValueError(f"{len(reference)} and {len(other)} resamples do not make pairs")
    lost = 100 * (np.asarray(reference) - np.asarray(other))
    low, high = np.percentile(lost, ((100 - COVERED) / 2, (100 + COVERED) / 2))
    return Chance(float(low), float(high), float(lost.std(ddof=1)))


def _matches(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> tuple[NDArray[Any], Any]:
    """The library's matches of each class and image, opaque objects [classes, images], and its parameters."""
    classes = all_classes(predictions, truths)
    evaluator = coco_evaluator(predictions, truths, classes, by_size=False, separate_eval=True)
    evaluator.evaluate()
    matches = np.empty(len(classes) * len(truths), object)
    matches[:] = evaluator._evalImgs_cpp
    return matches.reshape(len(classes), len(truths)), evaluator._paramsEval


def _ap(matches: NDArray[Any], parameters: Any) -> float:
    precision = np.asarray(coco.COCOevalAccumulate(parameters, matches.ravel().tolist())["precision"])
    return mean_precision(precision) or 0.0
