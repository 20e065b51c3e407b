"""Images with their ground truth, one at a time: generated pages, or a data set in COCO's format."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.coco import CocoData, GroundTruth
from models.data.findings import MAX_EXAMPLES, Notices
from models.data.image_files import read_rgb
from models.data.pages import Page, render_page
from models.data.pages.fonts import family_names
from models.data.pages.held_out import HELD_OUT_SEEDS
from models.data.pages.page import Kinds
from models.named_models import PAGE_LABELS

OTHER_CLASS: Final = "classes that the training data has not, left out of validation"


@dataclass(frozen=True, slots=True)
class Sample:
    """A uint8 RGB image [H, W, 3] and what is in it."""

    image: NDArray[np.uint8]
    truth: GroundTruth


class Samples(Protocol):
    """A data set for validation and evaluation: by index, or one after another, never in memory as a whole."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that there are objects of, in alphabetical order."""
        ...

    @property
    def notices(self) -> Notices:
        """What was left out of the data, and what was assumed of it."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Decode or render an image. Raises OSError or ValueError, naming the file, where it cannot be read."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """Decode or render one image after another."""
        return (self[index] for index in range(len(self)))

    def described(self) -> dict[str, Any]:
        """Return what it takes to have the same data again."""
        ...


@dataclass(frozen=True, slots=True)
class PageSamples(Samples):
    """Generated pages that training never renders; of a journal's size by default, in pixels.

    `kinds` is what they are pages of; `rendered` keeps pages for the next time, where a dictionary is given.
    """

    count: int = 100
    height: int = 792
    width: int = 612
    kinds: Kinds = "pages"
    rendered: dict[int, Sample] | None = field(default=None, compare=False, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """All that pages may hold."""
        return tuple(sorted(PAGE_LABELS))

    @property
    def notices(self) -> Notices:
        """None: pages are whole."""
        return Notices()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        kept = {} if self.rendered is None else self.rendered
        if index not in kept:
            page = render_page(HELD_OUT_SEEDS + index, self.height, self.width, self.kinds)
            kept[index] = Sample(np.asarray(page.image), page_truth(page))
        return kept[index]

    def described(self) -> dict[str, Any]:
        """Return name, seed and fonts: a page is the same again only on a machine with the same fonts."""
        name = f"{self.kinds}:{self.count}:{self.height}x{self.width}"
        return {"data": name, "first_seed": HELD_OUT_SEEDS, "fonts": list(family_names())}


@dataclass(frozen=True, slots=True)
class CocoSamples(Samples):
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

    def __getitem__(self, index: int) -> Sample:
        image = self.data.images[index]
        return Sample(read_rgb(self.data.folder / image.file_name, image.height, image.width), image.truth)

    def of_classes(self, labels: Sequence[str | None]) -> CocoSamples:
        """The same images without objects of other classes; the notices count those.

        Raises ValueError where no object that counts is left.
        """
        images = tuple(replace(image, truth=image.truth.of_classes(labels)) for image in self.data.images)
        if not any(image.truth.objects for image in images):
            source = self.data.files.annotations
            raise ValueError(f"{source} has no object of the classes to learn: nothing to validate on")
        others = Counter(label for image in self.data.images for label in image.truth.labels if label not in labels)
        examples = tuple(f"{name} with {count} objects" for name, count in others.most_common(MAX_EXAMPLES))
        notices = self.data.notices.also(OTHER_CLASS, len(others), examples)
        return CocoSamples(replace(self.data, images=images, notices=notices))

    def described(self) -> dict[str, Any]:
        """Paths and the annotations' digest."""
        annotations = self.data.files.annotations
        digest = hashlib.sha256(annotations.read_bytes()).hexdigest()
        return {"data": str(self.data.folder), "annotations": str(annotations), "annotations_sha256": digest}


def page_truth(page: Page) -> GroundTruth:
    """The objects of a generated page, by class name."""
    return GroundTruth(page.boxes_xyxy, tuple(PAGE_LABELS[label] for label in page.labels))
