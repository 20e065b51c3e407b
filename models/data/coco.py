"""Ground truth, and how it is read from COCO's annotation files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What there is in one image.

    `boxes_xyxy` float [n, 4] in pixels of the original image; `labels` n class names; `crowd` bool [n], None:
    no crowds. `areas` float [n] in square pixels decides which size an object has; None: the boxes' areas.
    """

    boxes_xyxy: NDArray[np.floating[Any]]
    labels: tuple[str, ...]
    crowd: NDArray[np.bool_] | None = None
    areas: NDArray[np.floating[Any]] | None = None

    def of_classes(self, names: Collection[str]) -> GroundTruth:
        """What there is of the named classes."""
        keep = np.fromiter((label in names for label in self.labels), bool, len(self.labels))
        return GroundTruth(
            self.boxes_xyxy[keep],
            tuple(compress(self.labels, keep)),
            None if self.crowd is None else self.crowd[keep],
            None if self.areas is None else self.areas[keep],
        )


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of a COCO annotation file; `height` and `width` in pixels."""

    file_name: str
    height: int
    width: int
    truth: GroundTruth


def read_coco(path: Path) -> list[CocoImage]:
    """Read a COCO annotation file (`instances_*.json`): its images in the file's order, classes by name.

    An annotation without `iscrowd` is no crowd, one without `area` has its box's, as many tools export them.
    Raises OSError where it cannot be read and ValueError where it is not of this form.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in document["categories"]}
        objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
        for annotation in document["annotations"]:
            objects[annotation["image_id"]].append(annotation)
        return [
            CocoImage(image["file_name"], image["height"], image["width"], _truth(objects[image["id"]], names))
            for image in document["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a COCO annotation file: {error!r}") from error


def _truth(objects: Sequence[dict[str, Any]], names: dict[int, str]) -> GroundTruth:
    """Ground truth of one image from its annotations."""
    boxes = np.array([annotation["bbox"] for annotation in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return GroundTruth(
        boxes,
        tuple(names[annotation["category_id"]] for annotation in objects),
        np.array([bool(annotation.get("iscrowd", 0)) for annotation in objects], bool),
        np.array([_area(annotation) for annotation in objects], np.float64),
    )


def _area(annotation: dict[str, Any]) -> float:
    _, _, width, height = annotation["bbox"]
    return float(annotation.get("area", width * height))
