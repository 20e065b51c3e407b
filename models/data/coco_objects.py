"""The objects of a COCO annotation file that have a box: read where only one thing can be meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.data.coco_images import ListedImage
from models.data.fields import Key, read_flag, read_key, read_number
from models.data.findings import Findings, shown
from models.data.segmentation import Box, box_around, mask_size

UNKNOWN_IMAGE: Final = "annotations of images that the file does not list, left out"
FROM_SEGMENTATION: Final = "boxes taken from their segmentation"
NOT_FINITE: Final = "boxes with numbers that are not finite, left out"
NEGATIVE: Final = "boxes of negative width or height, left out"
NO_AREA: Final = "boxes without an area, left out"
OUTSIDE: Final = "boxes outside their image, left out"


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One object: its box in pixels, its class, whether it is a crowd, its area, and where it stands in the file."""

    box: Box
    label: str
    crowd: bool
    area: float
    where: str

    @property
    def corner(self) -> tuple[float, float]:
        """The bottom right one, x and y."""
        x, y, width, height = self.box
        return x + width, y + height

    def lies_outside(self, height: int, width: int) -> bool:
        """Whether nothing of it is in an image of this size."""
        right, bottom = self.corner
        return self.box[0] >= width or self.box[1] >= height or right <= 0 or bottom <= 0


def labelled_boxes(
    rows: Iterable[dict[str, Any]],
    images: Mapping[Key, ListedImage],
    others: Container[Key | None],
    names: Mapping[Key, str],
    findings: Findings,
) -> Iterator[tuple[Key, LabelledBox]]:
    """Yield the objects of `images` that have a box with an area, each with the id of its image.

    `others` are the file's images that are not asked for; `names` the classes by the categories' ids.
    """
    for index, row in enumerate(rows):
        where = f"annotation {row['id']}" if row.get("id") is not None else f"annotations[{index}]"
        try:
            key = read_key(row.get("image_id"))
        except ValueError as error:
            findings.problem(where, "image_id", _said(row, "image_id", error))
            continue
        if key in others:
            continue
        if key not in images:
            findings.notice(UNKNOWN_IMAGE, where)
            continue
        box = _labelled(f"{where} of {images[key]}", row, images[key], names, findings)
        if box is not None:
            yield key, box


def _labelled(
    where: str, row: dict[str, Any], image: ListedImage, names: Mapping[Key, str], findings: Findings
) -> LabelledBox | None:
    read: dict[str, Callable[[], Any]] = {
        "category_id": lambda: _label(row.get("category_id"), names),
        "iscrowd": lambda: read_flag(row.get("iscrowd")),
        "bbox": lambda: _box(row, where, image, findings),
    }
    values: dict[str, Any] = {}
    for name, reader in read.items():
        try:
            values[name] = reader()
        except ValueError as error:
            findings.problem(where, name, _said(row, name, error))
    if len(values) < len(read) or not _has_area(values["bbox"], where, findings):
        return None
    box: Box = values["bbox"]
    return LabelledBox(box, values["category_id"], values["iscrowd"], _area(row.get("area"), box), where)


def _label(value: Any, names: Mapping[Key, str]) -> str:
    key = read_key(value)
    if key not in names:
        raise ValueError("is no category of the file")
    return names[key]


def _box(row: dict[str, Any], where: str, image: ListedImage, findings: Findings) -> Box:
    """x, y, width, height: as given, or around the segmentation where the file leaves them open."""
    given = row.get("bbox")
    open_ = given is None or given in ([], "") or (isinstance(given, list) and all(one in (None, 0) for one in given))
    if open_:
        around = _around(row, image)
        if around is not None:
            findings.notice(FROM_SEGMENTATION, where)
            return around
    if not isinstance(given, list) or len(given) != 4:
        raise ValueError("is not four numbers, and there is no segmentation" if open_ else "is not four numbers")
    x, y, width, height = map(read_number, given)
    return x, y, width, height


def _around(row: dict[str, Any], image: ListedImage) -> Box | None:
    try:
        size = mask_size(row.get("segmentation"))
        if size is not None and not _agree(size, image):
            raise ValueError(f"is of {size[1]} x {size[0]} pixels, its image of {image.width} x {image.height}")
        return box_around(row.get("segmentation"))
    except ValueError as error:
        raise ValueError(f"is to be taken from a segmentation that {error}") from None


def _agree(size: tuple[int, int], image: ListedImage) -> bool:
    return all(own in (None, given) for own, given in zip((image.height, image.width), size, strict=True))


def _has_area(box: Box, where: str, findings: Findings) -> bool:
    """Whether a box covers anything; if not, a notice says why."""
    if not all(map(math.isfinite, box)):
        findings.notice(NOT_FINITE, where)
    elif min(box[2:]) < 0:
        findings.notice(NEGATIVE, where)
    elif min(box[2:]) == 0:
        findings.notice(NO_AREA, where)
    else:
        return True
    return False


def _area(value: Any, box: Box) -> float:
    """The area in square pixels; the box's where the file gives none that is above 0."""
    try:
        area = read_number(value)
    except ValueError:
        area = 0.0
    return area if math.isfinite(area) and area > 0 else box[2] * box[3]


def _said(row: dict[str, Any], name: str, error: ValueError) -> str:
    return f"{shown(row[name])} {error}" if name in row else f"is missing: it {error}"
