"""Batches of augmented images of a COCO data set, epoch after epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.training.data.augmentations import Augmentation
from models.training.data.batches import TrainingBatch, shard
from models.training.data.coco_dataset import CocoDataset
from models.training.data.labelled_image import LabelledImage


class CocoStream:
    """Every epoch shows every image once, in an order of its own; batches run on from one epoch into the next.

    Seed and epoch decide the order; seed, epoch and image how the image is augmented; seed and step how large: the
    images of one step are cropped and scaled alike. `augmentations` gives a step's augmentation. Process `rank` of
    `ranks` takes its share of every batch. Raises ValueError where it would get no image.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        batch_size: int,
        seed: int,
        augmentations: Callable[[int], Augmentation],
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.augmentations = augmentations
        self.shard = shard(batch_size, rank, ranks)

    def batch(self, step: int) -> TrainingBatch:
        """This process's share of one step's batch. Raises OSError and ValueError, naming a file, as the data do."""
        shown = [divmod(step * self.batch_size + index, len(self.dataset)) for index in self.shard]
        orders = {epoch: self._order(epoch) for epoch, _ in shown}
        samples = [self._sample(step, epoch, int(orders[epoch][turn])) for epoch, turn in shown]
        return TrainingBatch(tuple(sample.pixels for sample in samples), [sample.target() for sample in samples])

    def _order(self, epoch: int) -> Tensor:
        """Indices of the images in the order of an epoch."""
        return torch.randperm(len(self.dataset), generator=_chance(self.seed, epoch))

    def _sample(self, step: int, epoch: int, index: int) -> LabelledImage:
        chance, sizes = _chance(self.seed, epoch, index), _chance(self.seed, step, 0, 0)
        return self.augmentations(step)(self.dataset[index], chance, sizes)


def _chance(seed: int, *key: int) -> torch.Generator:
    """A generator of its own for every seed and key, none of them negative.

    Keys of different lengths never meet: (epoch) draws an order, (epoch, image) a variant, (step, 0, 0) sizes.
    """
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
