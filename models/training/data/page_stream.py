"""Endless batches of rendered pages for training."""

from __future__ import annotations

import numpy as np
import torch

from models.boxes import xyxy_to_cxcywh
from models.data.pages import Page, render_page
from models.training.data.batches import TrainingBatch, shard
from models.training.objective.matcher import Target
from models.training.plan.curriculum import Curriculum


class PageStream:
    """Batches of rendered pages without end; the pages of one step are of one size.

    Process `rank` of `ranks` takes its share of every batch. Raises ValueError where it would get no page.
    """

    def __init__(self, curriculum: Curriculum, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        self.curriculum = curriculum
        self.batch_size = batch_size
        self.shard = shard(batch_size, rank, ranks)

    def batch(self, step: int) -> TrainingBatch:
        """This process's share of one step's batch."""
        height, width = self.curriculum.page_size(step)
        pages = [render_page(step * self.batch_size + index, height, width) for index in self.shard]
        images = (torch.from_numpy(np.asarray(page.image).transpose(2, 0, 1).copy()) for page in pages)
        return TrainingBatch(tuple(images), [as_target(page) for page in pages])


def as_target(page: Page) -> Target:
    """A page's boxes relative to the page, as the losses want them."""
    height, width = page.image.height, page.image.width
    boxes = torch.from_numpy(page.boxes_xyxy) / torch.tensor((width, height, width, height))
    return Target(torch.from_numpy(page.labels), xyxy_to_cxcywh(boxes).float())
