"""What a person can train on and validate with: generated pages, or a folder in COCO's format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.config import PAGE_LABELS, DetrConfig
from models.data.coco import CocoImage, GroundTruth, read_coco
from models.data.coco_files import CocoFiles, find_coco, training_files
from models.data.image_files import read_rgb
from models.training.augmentations import Augmentation
from models.training.batches import BatchStream
from models.training.coco_dataset import CocoDataset, read_labels
from models.training.coco_stream import CocoStream
from models.training.page_stream import HELD_OUT_SEEDS, PageStream
from models.training.pages import render_page
from models.training.processes import rank, ranks
from models.training.recipe import Recipe

PAGES: Final = "pages"


class HeldOut(Protocol):
    """Images that training never sees, with their ground truth."""

    def __len__(self) -> int:
        """How many."""

    def sample(self, place: int) -> tuple[NDArray[np.uint8], GroundTruth]:
        """Image uint8 RGB [H, W, 3] number `place`, and what is in it."""


@dataclass(frozen=True, slots=True)
class HeldOutPages:
    """Generated pages of a journal's size, drawn once."""

    count: int
    height: int = 792
    width: int = 612
    drawn: dict[int, tuple[NDArray[np.uint8], GroundTruth]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count

    def sample(self, place: int) -> tuple[NDArray[np.uint8], GroundTruth]:
        """Draw page `place`, or find it drawn."""
        if place not in self.drawn:
            page = render_page(HELD_OUT_SEEDS + place, self.height, self.width)
            truth = GroundTruth(page.boxes_xyxy, tuple(PAGE_LABELS[label] for label in page.labels))
            self.drawn[place] = (np.asarray(page.image), truth)
        return self.drawn[place]


@dataclass(frozen=True, slots=True)
class HeldOutImages:
    """The first images of a COCO annotation file."""

    folder: Path
    records: tuple[CocoImage, ...]

    @classmethod
    def read(cls, files: CocoFiles, limit: int) -> HeldOutImages:
        """Read the annotations. Raises OSError and ValueError as `read_coco`."""
        return cls(files.images, tuple(read_coco(files.annotations)[:limit]))

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, place: int) -> tuple[NDArray[np.uint8], GroundTruth]:
        """Decode image `place`. Raises OSError and ValueError, naming the file."""
        record = self.records[place]
        return read_rgb(self.folder / record.file_name, record.height, record.width), record.truth


def class_names(data: str) -> tuple[str, ...]:
    """The classes to learn. Raises OSError and ValueError for a folder that is no COCO data set."""
    return PAGE_LABELS if data == PAGES else read_labels(training_files(Path(data)).annotations)


def image_count(data: str) -> int | None:
    """How many images there are to train on; None: without end. Raises as `class_names`."""
    return None if data == PAGES else len(read_coco(training_files(Path(data)).annotations))


def open_stream(recipe: Recipe, config: DetrConfig) -> BatchStream:
    """This process's share of the batches of a run. Raises OSError and ValueError for data that cannot be used."""
    if recipe.stages is not None:
        return PageStream(recipe.stages, recipe.batch_size, rank(), ranks())
    dataset = CocoDataset.read(training_files(Path(recipe.data)), config.labels)
    augmentation = Augmentation.for_model(config, recipe.flip)
    return CocoStream(dataset, recipe.batch_size, recipe.seed, augmentation, rank(), ranks())


def open_held_out(data: str, limit: int) -> HeldOut | None:
    """Images to validate on: held-out pages, or a data set's validation split; None where it has none.

    Raises OSError and ValueError for data that cannot be used.
    """
    if data == PAGES:
        return HeldOutPages(limit)
    files = find_coco(Path(data), "val")
    return None if files is None else HeldOutImages.read(files, limit)
