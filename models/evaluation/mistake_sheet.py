"""A sheet of the images with the most mistakes: labels on the left, detections on the right."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from PIL import Image

from models.data.coco import GroundTruth
from models.data.samples import Samples
from models.detections import Detections
from models.evaluation.evaluate import Evaluation
from models.evaluation.mistakes import Verdicts, judge
from models.evaluation.pictures import drawn, side_by_side, tiled

SHOWN: Final = 12
"""Images on a sheet, by default."""
RIGHT: Final = "#3cb44b"
WRONG: Final = "#e6194b"
MISSED: Final = "#f58231"


def mistake_sheet(samples: Samples, evaluation: Evaluation, known: Collection[str], shown: int = SHOWN) -> Image.Image:
    """Draw those `shown` samples of an evaluation that have the most mistakes, most first; equal ones in their order.

    Objects of other classes than `known`, the model's, are left out. On the right, what is correct is green and what is
    wrong red, with the kind of mistake and the score; on the left, missed objects are orange. Raises ValueError for
    other samples than those of the evaluation.
    """
    if len(samples) != len(evaluation.detections):
        raise ValueError(f"{len(samples)} samples are not the {len(evaluation.detections)} of the evaluation")
    counts = evaluation.mistakes.by_image
    pairs = []
    for index in sorted(range(len(counts)), key=lambda index: -counts[index])[:shown]:
        sample, detections = samples[index], evaluation.detections[index]
        truth = sample.truth.of_classes(known)
        verdicts = judge(detections, truth)
        left = drawn(sample.image, truth.boxes_xyxy, truth.labels, _colours_of_objects(truth, verdicts))
        right = drawn(sample.image, detections.boxes_xyxy, _texts(detections, verdicts), _colours(verdicts))
        pairs.append(side_by_side(left, right))
    return tiled(pairs)


def _colours_of_objects(truth: GroundTruth, verdicts: Verdicts) -> list[str]:
    return [MISSED if row in verdicts.missed else RIGHT for row in range(len(truth.labels))]


def _colours(verdicts: Verdicts) -> list[str]:
    return [RIGHT if kind is None else WRONG for kind in verdicts.detections]


def _texts(detections: Detections, verdicts: Verdicts) -> list[str]:
    """Class and score of each detection, and what is wrong with it."""
    scored = [
        f"{label} {score:.2f}" for label, score in zip(detections.labels, np.asarray(detections.scores), strict=True)
    ]
    return [f"{text}: {kind}" if kind else text for text, kind in zip(scored, verdicts.detections, strict=True)]
