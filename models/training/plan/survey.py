"""A survey of the data and of the model to start from, before a run: its defaults follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from models.detr.frozen_batch_norm import FrozenBatchNorm2d
from models.images import ImageBatch
from models.preprocess import normalise
from models.training.data.batches import TrainingBatch
from models.training.data.coco_dataset import CocoDataset
from models.training.starting_point import StartingPoint

FAR: Final = 0.2
"""A shift of features above this means other images: for pages-small, pages have 0.05 to 0.12, photographs 0.4 up."""

SURVEYED: Final = 16
"""Images whose features are looked at."""


@dataclass(frozen=True, slots=True)
class Survey:
    """`images` to train on (None: without end); `new_classes`: those that the model does not know by name.

    `feature_shift`: how far the model's features of the data are from those that it was trained on, see
    `feature_shift`; None for a model without weights. `crowded`: images with more objects than the model has
    `queries`; `max_objects` those of the fullest image. `refines_boxes`: the model has a box refinement.
    """

    images: int | None
    new_classes: tuple[str, ...]
    feature_shift: float | None
    queries: int
    refines_boxes: bool = False
    crowded: int = 0
    max_objects: int = 0

    @property
    def far(self) -> bool:
        """Whether the data is unlike what the model was trained on."""
        return self.feature_shift is not None and self.feature_shift > FAR

    def warnings(self) -> list[str]:
        """Say what will limit the result."""
        if not self.crowded:
            return []
        return [
            f"{self.crowded} images have more objects (up to {self.max_objects}) than the model can find: it has "
            f"{self.queries} queries. What is beyond them is never learnt; cut such images into parts, or start from a "
            "model with more queries"
        ]


def survey_of(
    images: CocoDataset, batches: Sequence[TrainingBatch], start: StartingPoint, new_classes: tuple[str, ...]
) -> Survey:
    """Look at a data set, and at what the model makes of the first batches of it."""
    counts = images.starts.diff()
    queries = start.config.queries
    return Survey(
        images=len(images),
        new_classes=new_classes,
        feature_shift=feature_shift(start, batches),
        queries=queries,
        refines_boxes=start.config.box_refinement is not None,
        crowded=int((counts > queries).sum()),
        max_objects=int(counts.max()),
    )


@torch.no_grad()
def feature_shift(start: StartingPoint, batches: Sequence[TrainingBatch]) -> float | None:
    """Mean distance of the backbone's features from those that its batch norms know, in standard deviations.

    The mean, over channels and batch norms, of |mean over the images - running mean| / running standard deviation.
    0 for the images that a model was trained on; None for a model without weights.
    """
    if start.weights is None:
        return None
    detr = start.detr().eval()
    detr.load_state_dict(start.weights, strict=False)
    norms = [module for module in detr.backbone.modules() if isinstance(module, FrozenBatchNorm2d | nn.BatchNorm2d)]
    means_by_norm: list[list[Tensor]] = [[] for _ in norms]
    for norm, means in zip(norms, means_by_norm, strict=True):
        norm.register_forward_pre_hook(lambda _, given, means=means: means.append(channel_means(given)))
    for batch in batches:
        for stack in ImageBatch.from_images([normalise(image, start.config) for image in batch.images]).stacks:
            detr.backbone(stack)
    shifts = []
    for norm, means in zip(norms, means_by_norm, strict=True):
        mean, variance = torch.as_tensor(norm.running_mean), torch.as_tensor(norm.running_var)
        shifts.append(((torch.stack(means).mean(0) - mean) / (variance + norm.eps).sqrt()).abs().mean())
    return float(torch.stack(shifts).mean())


def channel_means(given: tuple[Tensor, ...]) -> Tensor:
    """Mean [c] over images and positions of a module's input [b, c, h, w]."""
    return given[0].mean((0, 2, 3))
