"""COCO data sets: ground truth by image, read from an annotation file and the images that it lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.coco_document import CocoDocument, class_order, read_categories
from models.data.coco_files import CocoFiles
from models.data.coco_images import ImageFile, ListedImage, check_distinct, find_file, listed_images
from models.data.coco_objects import OUTSIDE, LabelledBox, labelled_boxes
from models.data.fields import Key, key_or_none
from models.data.findings import Findings, Notices
from models.data.image_names import image_folder


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The objects in one image.

    `boxes_xyxy` float [n, 4] in pixels of the original image; `labels` n class names; `crowd` bool [n], None:
    no crowds. `areas` float [n] in square pixels decides which size an object has; None: the boxes' areas.
    """

    boxes_xyxy: NDArray[np.floating[Any]]
    labels: tuple[str, ...]
    crowd: NDArray[np.bool_] | None = None
    areas: NDArray[np.floating[Any]] | None = None

    @property
    def objects(self) -> int:
        """Number of objects that count: crowds do not."""
        return len(self.labels) - (0 if self.crowd is None else int(self.crowd.sum()))

    def of_classes(self, names: Collection[str | None]) -> GroundTruth:
        """The objects of the named classes."""
        keep = np.fromiter((label in names for label in self.labels), bool, len(self.labels))
        return GroundTruth(
            self.boxes_xyxy[keep],
            tuple(compress(self.labels, keep)),
            None if self.crowd is None else self.crowd[keep],
            None if self.areas is None else self.areas[keep],
        )


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of a COCO annotation file: its path below the folder of images, `height` and `width` in pixels."""

    file_name: str
    height: int
    width: int
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class CocoData:
    """A COCO data set that was read: `images` lie below `folder`; `classes` are all that the file has, by their ids."""

    files: CocoFiles
    folder: Path
    images: tuple[CocoImage, ...]
    classes: tuple[str, ...]
    notices: Notices


def read_coco(files: CocoFiles, limit: int | None = None) -> CocoData:
    """Read a COCO annotation file (`instances_*.json`) and find its images (the first `limit`), in the file's order.

    What can mean only one thing is read however a tool wrote it; data that is of no use is left out; the
    notices tell of both. Boxes may reach out of their image.

    Raises OSError for a file that cannot be opened, and DataError, with all problems of the file, for what it would
    take a guess to read, missing images, and files without an object that counts.
    """
    document, findings = CocoDocument.load(files.annotations), Findings(str(files.annotations))
    names = read_categories(document, findings)
    listed = list(listed_images(document.images[:limit], findings))
    boxes = _boxes(document, listed, names, findings)
    folder = _folder(files, listed, findings)
    searched = [(image, find_file(folder, image, _corners(boxes[image.key]), findings)) for image in listed]
    files_of = [(image, file) for image, file in searched if file is not None]
    check_distinct(files_of, findings)
    findings.refuse()
    images = tuple(_image(file, boxes[image.key], findings) for image, file in files_of)
    _check_objects(images, findings)
    return CocoData(files, folder, images, class_order(document, names), findings.notices())


def _boxes(
    document: CocoDocument, listed: Sequence[ListedImage], names: Mapping[Key, str], findings: Findings
) -> dict[Key, list[LabelledBox]]:
    """The objects of every listed image; those of the file's other images are ignored."""
    boxes: dict[Key, list[LabelledBox]] = {image.key: [] for image in listed}
    others = {key for row in document.images if (key := key_or_none(row.get("id"))) not in boxes}
    images = {image.key: image for image in listed}
    for key, box in labelled_boxes(document.annotations, images, others, names, findings):
        boxes[key].append(box)
    return boxes


def _corners(boxes: Iterable[LabelledBox]) -> list[tuple[float, float]]:
    return [box.corner for box in boxes]


def _folder(files: CocoFiles, listed: Sequence[ListedImage], findings: Findings) -> Path:
    """The folder of the images. Raises DataError where no folder has them."""
    if not listed:
        findings.problem("", "", "lists no images")
        raise findings.error()
    folder = image_folder(files.folders, [image.file_name for image in listed])
    if folder is None:
        looked = ", ".join(map(str, files.folders)) or "any folder"
        findings.problem(str(listed[0]), "file_name", f"is not in {looked}, and neither are those that follow")
        raise findings.error()
    return folder


def _image(file: ImageFile, boxes: Sequence[LabelledBox], findings: Findings) -> CocoImage:
    inside = []
    for box in boxes:
        if box.lies_outside(file.height, file.width):
            findings.notice(OUTSIDE, box.where)
        else:
            inside.append(box)
    corners = np.array([(*box.box[:2], *box.corner) for box in inside], np.float64).reshape(-1, 4)
    truth = GroundTruth(
        corners,
        tuple(box.label for box in inside),
        np.array([box.crowd for box in inside], bool),
        np.array([box.area for box in inside], np.float64),
    )
    return CocoImage(file.path, file.height, file.width, truth)


def _check_objects(images: Sequence[CocoImage], findings: Findings) -> None:
    """Refuse data without an object that counts."""
    if any(image.truth.objects for image in images):
        return
    crowds = sum(len(image.truth.labels) for image in images)
    notices = [f"{notice.what}: {notice.count}" for notice in findings.notices().rows]
    reasons = "; ".join([*([f"crowds: {crowds}"] if crowds else []), *notices])
    findings.problem("", "", f"has no object that counts in its {len(images)} images{f' ({reasons})' * bool(reasons)}")
    findings.refuse()
