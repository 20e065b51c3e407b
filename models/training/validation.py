"""COCO's average precision of a model in training, on images that it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.distributed as dist

from models.attention_config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import Samples
from models.detections import Detections
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.coco_metrics import CocoMetrics, coco_metrics
from models.training.processes import gathered, rank, ranks


@dataclass(frozen=True, slots=True)
class Validation:
    """Average precision by attention, in its text form, as the model is served: with its own `nms`.

    `best_scores` has the best score, in 0..1, that any detection of a class of the ground truth was given with the
    first attention; 0 for a class that was never predicted.
    """

    metrics: dict[str, CocoMetrics]
    best_scores: dict[str, float]

    @property
    def mean_ap(self) -> float:
        """AP averaged over the attentions: what decides which weights are best."""
        return sum(row.ap for row in self.metrics.values()) / len(self.metrics)


def validate(detr: Detr, held_out: Samples, attentions: Sequence[AttentionConfig], device: torch.device) -> Validation:
    """Score the held-out images with every attention. The processes share the images; all must call it.

    The model stays as it is. Raises ValueError where the images hold no objects.
    """
    _synchronize_buffers(detr)
    detector = Detector(deepcopy(detr), str(device))
    own = {}
    for index in range(rank(), len(held_out), ranks()):
        sample = held_out[index]
        served = [detector.detect(sample.image, each).detections for each in attentions]
        own[index] = (sample.truth, [detections.select(nms=detector.config.nms) for detections in served])
    results = {index: row for part in gathered(own) for index, row in part.items()}
    truths, predictions = zip(*(results[index] for index in sorted(results)), strict=True)
    by_attention = list(zip(*predictions, strict=True))
    metrics = {
        str(attention): coco_metrics(detections, truths)
        for attention, detections in zip(attentions, by_attention, strict=True)
    }
    return Validation(metrics, best_scores(by_attention[0], truths))


def best_scores(predictions: Sequence[Detections], truths: Sequence[GroundTruth]) -> dict[str, float]:
    """The best score of every class that the ground truth has, by name in alphabetical order."""
    best = dict.fromkeys(sorted({label for truth in truths for label in truth.labels}), 0.0)
    for detections in predictions:
        for label, score in zip(detections.labels, detections.scores.tolist(), strict=True):
            if label in best:
                best[label] = max(best[label], score)
    return best


def as_values(metrics: dict[str, CocoMetrics]) -> dict[str, float]:
    """Numbers for the log, by name."""
    values: dict[str, float] = {}
    for attention, scores in metrics.items():
        values |= {f"AP/{attention}": scores.ap, f"AP50/{attention}": scores.ap50, f"AP75/{attention}": scores.ap75}
        values |= {f"AP {name}/{attention}": ap for name, ap in scores.by_class.items()}
    return values


def _synchronize_buffers(detr: Detr) -> None:
    """Take the first process's statistics of batch norms, which every process gathers from its own images."""
    if ranks() > 1:
        for buffer in detr.buffers():
            dist.broadcast(buffer, 0)
