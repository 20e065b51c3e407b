"""What a person can train on and validate with: generated pages, or a folder in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.config import PAGE_LABELS, DetrConfig
from models.data.coco import CocoData, CocoImage, GroundTruth, count_images, read_classes, read_coco
from models.data.coco_files import CocoFiles, training_files, validation_files
from models.data.findings import MOST_EXAMPLES, Notices
from models.data.image_files import read_rgb
from models.data.pages import render_page
from models.data.pages.held_out import HELD_OUT_SEEDS
from models.training.data.augmentations import StepAugmentations
from models.training.data.batches import BatchStream
from models.training.data.coco_dataset import CocoDataset
from models.training.data.coco_stream import CocoStream
from models.training.data.page_stream import PageStream
from models.training.plan.recipe import Recipe
from models.training.processes import rank, ranks

PAGES: Final = "pages"
UNKNOWN_CLASS: Final = "classes that the training data has not, left out of validation"


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
    """The first images of a COCO annotation file; `notices` tell of what was left out and assumed."""

    folder: Path
    records: tuple[CocoImage, ...]
    notices: Notices

    @classmethod
    def read(cls, files: CocoFiles, limit: int, labels: Sequence[str | None] | None = None) -> HeldOutImages:
        """Read the annotations of the classes in `labels`; None: of all.

        Raises OSError and ValueError as `read_coco`, and ValueError where no object is of one of the classes.
        """
        data = read_coco(files, limit)
        records, notices = data.images, data.notices
        if labels is not None:
            records = tuple(replace(record, truth=record.truth.of_classes(labels)) for record in records)
            notices = _also_unknown(data, labels)
        if not any(record.truth.objects for record in records):
            raise ValueError(f"{files.annotations} has no object of the classes to learn: nothing to validate on")
        return cls(data.folder, records, notices)

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, place: int) -> tuple[NDArray[np.uint8], GroundTruth]:
        """Decode image `place`. Raises OSError and ValueError, naming the file."""
        record = self.records[place]
        return read_rgb(self.folder / record.file_name, record.height, record.width), record.truth


def class_names(data: str, annotations: Path | None = None) -> tuple[str, ...]:
    """The classes to learn; `annotations` is the file to learn from where it is not to be looked for.

    Raises OSError and ValueError for a folder that is no COCO data set.
    """
    if _is_pages(data, annotations):
        return PAGE_LABELS
    return read_classes(training_files(Path(data), annotations).annotations)


def image_count(data: str, annotations: Path | None = None) -> int | None:
    """How many images there are to train on; None: without end. Raises as `class_names`."""
    if _is_pages(data, annotations):
        return None
    return count_images(training_files(Path(data), annotations).annotations)


def open_stream(recipe: Recipe, config: DetrConfig, annotations: Path | None = None) -> BatchStream:
    """This process's share of the batches of a run. Raises OSError and ValueError for data that cannot be used."""
    if _is_pages(recipe.data, annotations):
        if recipe.stages is None:
            raise ValueError("generated pages need stages: which sizes come when")
        return PageStream(recipe.stages, recipe.batch_size, rank(), ranks())
    return coco_stream(open_dataset(recipe.data, config, annotations), recipe, config)


def open_dataset(data: str, config: DetrConfig, annotations: Path | None = None) -> CocoDataset:
    """Labelled images to train on, with the model's classes. Raises OSError and ValueError for unusable data."""
    return CocoDataset.read(training_files(Path(data), annotations), config.labels)


def coco_stream(dataset: CocoDataset, recipe: Recipe, config: DetrConfig) -> CocoStream:
    """This process's share of the batches of a run on a data set that was read."""
    augmentations = StepAugmentations(config, recipe.stages, recipe.flip, recipe.colour)
    return CocoStream(dataset, recipe.batch_size, recipe.seed, augmentations, rank(), ranks())


def open_held_out(
    data: str, limit: int, annotations: Path | None = None, labels: Sequence[str | None] | None = None
) -> HeldOut | None:
    """Images to validate on: held-out pages, or a data set's validation split; None where it has none.

    `annotations` is the file to validate on where it is not to be looked for. Objects of classes that are not in
    `labels` are left out, and the notices say so. Raises OSError and ValueError for data that cannot be used.
    """
    if _is_pages(data, annotations):
        return HeldOutPages(limit)
    files = validation_files(Path(data), annotations)
    return None if files is None else HeldOutImages.read(files, limit, labels)


def data_remarks(stream: BatchStream, held_out: HeldOut | None) -> list[str]:
    """What a person should know of the data before the first step: what is left out, and what was assumed."""
    notices = [stream.dataset.notices] if isinstance(stream, CocoStream) else []
    if isinstance(held_out, HeldOutImages):
        notices.append(held_out.notices)
    return [line for one in notices for line in one.lines()]


def _is_pages(data: str, annotations: Path | None) -> bool:
    if data == PAGES and annotations is not None:
        raise ValueError("generated pages come with their annotations")
    return data == PAGES


def _also_unknown(data: CocoData, labels: Sequence[str | None]) -> Notices:
    """The notices, and the classes of the images' objects that are not to be learnt."""
    counts = Counter(label for image in data.images for label in image.truth.labels if label not in labels)
    examples = tuple(f"{name} with {count} objects" for name, count in counts.most_common(MOST_EXAMPLES))
    return data.notices.also(UNKNOWN_CLASS, len(counts), examples)
