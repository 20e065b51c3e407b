"""The images that a COCO annotation file lists: their ids, names and annotated sizes, and the files that these mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.data.fields import Key, read_key, read_name, read_side
from models.data.findings import Findings, shown
from models.data.image_names import find_image, leads_out
from models.data.image_sizes import settled_size, stored_size

LISTED_TWICE: Final = "images listed more than once, each time with annotations of its own"


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as the annotation file has it; `height` and `width` are None where it leaves them open."""

    key: Key
    file_name: str
    height: int | None
    width: int | None

    def __str__(self) -> str:
        return f"image {self.key} ({self.file_name})"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that exists: its path relative to the folder of images, and the size that its boxes are of."""

    path: str
    height: int
    width: int


def listed_images(rows: Iterable[dict[str, Any]], findings: Findings) -> Iterator[ListedImage]:
    """Yield those of a file's images that can be read, each id once."""
    known: dict[Key, ListedImage] = {}
    for index, row in enumerate(rows):
        image = _listed(f"images[{index}]", row, findings)
        if image is None or known.get(image.key) == image:
            continue
        if image.key in known:
            findings.problem(str(image), "id", f"is that of {known[image.key].file_name}, too")
            continue
        known[image.key] = image
        yield image


def find_file(
    folder: Path, image: ListedImage, corners: Sequence[tuple[float, float]], findings: Findings
) -> ImageFile | None:
    """Find an image below `folder` and see which way up its boxes are; `corners`: their bottom right ones, (x, y)."""
    path = find_image(folder, image.file_name)
    if path is None:
        reason = f"is outside {folder}, which has no file of its last parts" if leads_out(image.file_name) else ""
        findings.problem(str(image), "file_name", f"{shown(image.file_name)} {reason or f'is not in {folder}'}")
        return None
    try:
        stored = stored_size(folder / path, image.height, image.width)
    except (OSError, ValueError) as error:
        findings.problem(str(image), "file_name", f"{shown(path)} {error}")
        return None
    try:
        (height, width), notices = settled_size(stored, image.height, image.width, corners)
    except ValueError as error:
        findings.problem(str(image), "width and height", f"{image.width} x {image.height} {error}")
        return None
    for notice in notices:
        findings.notice(notice, path)
    return ImageFile(path, height, width)


def check_distinct(files: Iterable[tuple[ListedImage, ImageFile]], findings: Findings) -> None:
    """Refuse one file for images of several names: whose annotations are its own is unknown."""
    owners: dict[str, ListedImage] = {}
    for image, file in files:
        owner = owners.setdefault(file.path, image)
        if owner.file_name != image.file_name:
            findings.problem(str(image), "file_name", f"leads to {file.path}, as that of {owner} does")
        elif owner is not image:
            findings.notice(LISTED_TWICE, file.path)


def _listed(entry: str, row: dict[str, Any], findings: Findings) -> ListedImage | None:
    values: dict[str, Any] = {}
    readers = {"id": read_key, "file_name": _path, "height": read_side, "width": read_side}
    for name, read in readers.items():
        try:
            values[name] = read(row.get(name))
        except ValueError as error:
            where = f"{entry} ({row['file_name']})" if isinstance(row.get("file_name"), str) else entry
            findings.problem(where, name, f"{shown(row.get(name))} {error}" if name in row else "is missing")
    if len(values) < len(readers):
        return None
    return ListedImage(values["id"], values["file_name"], values["height"], values["width"])


def _path(value: Any) -> str:
    """A file's name, as it is."""
    if not isinstance(value, str):
        raise ValueError("is no name")
    read_name(value)
    return value
