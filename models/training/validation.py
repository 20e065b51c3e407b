"""How good a model in training is: COCO's average precision on images that it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.distributed as dist

from models.config import AttentionConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.coco_metrics import CocoMetrics, coco_metrics
from models.training.processes import gathered, rank, ranks
from models.training.training_data import HeldOut


def validate(
    detr: Detr, held_out: HeldOut, attentions: Sequence[AttentionConfig], device: torch.device
) -> dict[str, CocoMetrics]:
    """Precision with each kind of attention, by its text form. The processes share the images; all must call it.

    The model stays as it is. Raises ValueError where the images hold no objects.
    """
    _agree(detr)
    detector = Detector(deepcopy(detr), str(device))
    found = {}
    for place in range(rank(), len(held_out), ranks()):
        image, truth = held_out.sample(place)
        found[place] = (truth, [detector.detect(image, attention).detections for attention in attentions])
    everything = {place: row for part in gathered(found) for place, row in part.items()}
    rows = [everything[place] for place in sorted(everything)]
    truths = [truth for truth, _ in rows]
    return {
        str(attention): coco_metrics([by_attention[number] for _, by_attention in rows], truths)
        for number, attention in enumerate(attentions)
    }


def as_values(metrics: dict[str, CocoMetrics]) -> dict[str, float]:
    """Numbers for the log, by name."""
    values: dict[str, float] = {}
    for attention, scores in metrics.items():
        values |= {f"AP/{attention}": scores.ap, f"AP50/{attention}": scores.ap50, f"AP75/{attention}": scores.ap75}
        values |= {f"AP {name}/{attention}": ap for name, ap in scores.by_class.items()}
    return values


def _agree(detr: Detr) -> None:
    """Take the first process's statistics of batch norms, which every process gathers from its own images."""
    if ranks() > 1:
        for buffer in detr.buffers():
            dist.broadcast(buffer, 0)
