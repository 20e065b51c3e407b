"""Images with what is in them, one at a time: generated pages, or a data set in COCO's format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.coco import CocoData, GroundTruth
from models.data.findings import Notices
from models.data.image_files import read_rgb
from models.data.pages import LABELS, Page
from models.data.pages.held_out import HELD_OUT_SEEDS, held_out_pages


@dataclass(frozen=True, slots=True)
class Sample:
    """A uint8 RGB image [H, W, 3] and what is in it."""

    image: NDArray[np.uint8]
    truth: GroundTruth


class Samples(Protocol):
    """A data set that can be gone through again and again, and never lies in memory as a whole."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that there are objects of, in order of the alphabet."""
        ...

    @property
    def notices(self) -> Notices:
        """What was left out of the data, and what was assumed of it."""
        ...

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """Decode or render one image after another. Raises OSError or ValueError where one cannot be read."""
        ...

    def described(self) -> dict[str, Any]:
        """What it takes to have the same data again."""
        ...


@dataclass(frozen=True, slots=True)
class PageSamples:
    """Generated pages that training never renders; of a journal's size by default, in pixels."""

    count: int = 100
    height: int = 792
    width: int = 612

    @property
    def classes(self) -> tuple[str, ...]:
        """All that pages may hold."""
        return tuple(sorted(LABELS))

    @property
    def notices(self) -> Notices:
        """None: pages are whole."""
        return Notices()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        for page in held_out_pages(self.count, self.height, self.width):
            yield Sample(np.asarray(page.image), page_truth(page))

    def described(self) -> dict[str, Any]:
        """Name and seed."""
        return {"data": f"pages:{self.count}:{self.height}x{self.width}", "first_seed": HELD_OUT_SEEDS}


@dataclass(frozen=True, slots=True)
class CocoSamples:
    """The images of a COCO data set."""

    data: CocoData

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the images' objects."""
        return tuple(sorted({label for image in self.data.images for label in image.truth.labels}))

    @property
    def notices(self) -> Notices:
        """What reading the annotations found."""
        return self.data.notices

    def __len__(self) -> int:
        return len(self.data.images)

    def __iter__(self) -> Iterator[Sample]:
        for image in self.data.images:
            yield Sample(read_rgb(self.data.folder / image.file_name, image.height, image.width), image.truth)

    def described(self) -> dict[str, Any]:
        """Paths and the annotations' digest."""
        annotations = self.data.files.annotations
        digest = hashlib.sha256(annotations.read_bytes()).hexdigest()
        return {"data": str(self.data.folder), "annotations": str(annotations), "annotations_sha256": digest}


def page_truth(page: Page) -> GroundTruth:
    """What is on a generated page, by class name."""
    return GroundTruth(page.boxes_xyxy, tuple(LABELS[label] for label in page.labels))
