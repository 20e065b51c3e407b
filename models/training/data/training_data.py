"""The data of a run, read once: images to learn from, and images to validate on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.config import DetrConfig
from models.data.coco import read_coco
from models.data.coco_files import training_files, validation_files
from models.data.samples import CocoSamples, PageSamples, Samples
from models.named_models import PAGE_LABELS
from models.training.data.augmentations import StepAugmentations
from models.training.data.batches import BatchStream
from models.training.data.coco_dataset import CocoDataset
from models.training.data.coco_stream import CocoStream
from models.training.data.page_stream import PageStream
from models.training.plan.recipe import Recipe
from models.training.processes import rank, ranks

PAGES: Final = "pages"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """`images` to learn from, None for generated pages, and `held_out` ones to validate on, None without any."""

    images: CocoDataset | None
    held_out: Samples | None = None

    @property
    def classes(self) -> tuple[str | None, ...]:
        """The classes to learn."""
        return PAGE_LABELS if self.images is None else self.images.labels

    @property
    def image_count(self) -> int | None:
        """Number of images to learn from; None: without end."""
        return None if self.images is None else len(self.images)

    def stream(self, recipe: Recipe, config: DetrConfig) -> BatchStream:
        """This process's share of the batches of a run. Raises ValueError for pages without sizes."""
        if self.images is not None:
            return coco_stream(self.images, recipe, config)
        if recipe.stages is None:
            raise ValueError("generated pages need stages: which sizes come when")
        return PageStream(recipe.stages, recipe.batch_size, rank(), ranks())

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know of the data before the first step: what is left out and assumed."""
        for part in (self.images, self.held_out):
            if part is not None:
                yield from part.notices.lines()


def open_data(data: str, annotations: Path | None = None) -> TrainingData:
    """Open `pages`, or a folder in COCO's format, to learn from.

    `annotations` is the file to learn from where it is not to be looked for. Raises OSError and ValueError for data
    that cannot be used.
    """
    if _is_pages(data, annotations):
        return TrainingData(None)
    return TrainingData(CocoDataset.read(training_files(Path(data), annotations)))


def open_held_out(
    data: str, limit: int, annotations: Path | None = None, classes: tuple[str | None, ...] | None = None
) -> Samples | None:
    """Open images to validate on: held-out pages, or a data set's validation split; None where it has none.

    `annotations` is the file to validate on where it is not to be looked for. Objects of other `classes` are left
    out, and the notices say so. Raises OSError and ValueError for data that cannot be used.
    """
    if _is_pages(data, annotations):
        return PageSamples(limit, rendered={})
    files = validation_files(Path(data), annotations)
    if files is None:
        return None
    samples = CocoSamples(read_coco(files, limit))
    return samples if classes is None else samples.of_classes(classes)


def coco_stream(dataset: CocoDataset, recipe: Recipe, config: DetrConfig) -> CocoStream:
    """This process's share of the batches of a run on labelled images, with the model's classes."""
    augmentations = StepAugmentations(config, recipe.stages, recipe.flip, recipe.colour)
    images = dataset.for_labels(config.labels)
    return CocoStream(images, recipe.batch_size, recipe.seed, augmentations, rank(), ranks())


def _is_pages(data: str, annotations: Path | None) -> bool:
    if data == PAGES and annotations is not None:
        raise ValueError("generated pages come with their annotations")
    return data == PAGES
