"""Endless batches of rendered pages for training, and a fixed set of held-out ones for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from models.boxes import xyxy_to_cxcywh
from models.training.curriculum import Curriculum
from models.training.matcher import Target
from models.training.pages import Page, render_page

HELD_OUT_SEEDS = 1_000_000_000
"""Training counts pages from 0 and never gets here."""


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Pages of one size: uint8 [b, 3, h, w] and what is on them."""

    pixels: Tensor
    targets: list[Target]


class PageStream(IterableDataset[TrainingBatch]):
    """Batches number `first_step`, `first_step + 1`, ... of an endless seeded stream.

    Batch and page depend on the step alone, so that a run that resumes sees what it would have seen. Process
    `rank` of `ranks` takes its share of every batch.
    """

    def __init__(self, curriculum: Curriculum, batch_size: int, first_step: int, rank: int = 0, ranks: int = 1) -> None:
        self.curriculum = curriculum
        self.batch_size = batch_size
        self.first_step = first_step
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[TrainingBatch]:
        torch.set_num_threads(1)
        for step in range(self.first_step, self.curriculum.steps):
            yield self.batch(step)

    def batch(self, step: int) -> TrainingBatch:
        """This process's share of one step's batch."""
        height, width = self.curriculum.page_size(step)
        first = step * self.batch_size
        seeds = range(first + self.rank, first + self.batch_size, self.ranks)
        pages = [render_page(seed, height, width) for seed in seeds]
        pixels = np.stack([np.asarray(page.image) for page in pages])
        return TrainingBatch(torch.from_numpy(pixels).permute(0, 3, 1, 2), [as_target(page) for page in pages])

    def loader(self) -> DataLoader[TrainingBatch]:
        """Render in a process of its own, a few batches ahead."""
        return DataLoader(self, batch_size=None, num_workers=1, prefetch_factor=4)


def as_target(page: Page) -> Target:
    """A page's boxes relative to the page, as the losses want them."""
    height, width = page.image.height, page.image.width
    boxes = torch.from_numpy(page.boxes_xyxy) / torch.tensor((width, height, width, height))
    return Target(torch.from_numpy(page.labels), xyxy_to_cxcywh(boxes).float())


def held_out_pages(count: int, height: int, width: int) -> Iterator[Page]:
    """Pages that training never renders, always the same ones."""
    return (render_page(HELD_OUT_SEEDS + place, height, width) for place in range(count))
