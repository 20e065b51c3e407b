"""From what a person calls a data set to its samples: `pages`, or a folder in one of the layouts of COCO's format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from models.data.coco import CocoImage, read_coco
from models.evaluation.samples import CocoSamples, PageSamples, Samples

FLAT_NAMES: Final = ("annotations.json", "_annotations.coco.json")
COCO_VAL: Final = "instances_val2017.json"
LEAST_PAGE_SIDE: Final = 64
PAGES: Final = re.compile(r"pages(?::(\d+))?(?::(\d+)x(\d+))?")


def open_samples(data: str, annotations: Path | None = None, limit: int | None = None) -> Samples:
    """Open `pages`, `pages:COUNT`, `pages:COUNT:HEIGHTxWIDTH`, or a folder (`./pages` is one).

    A folder holds `annotations/instances_val2017.json` and `val2017/`, as COCO's does, or images and one annotation
    file; `annotations` names that file where it lies elsewhere or is one of several. `limit`: the first so many images.

    Raises ValueError, or OSError, where something is missing, ambiguous or not of this form.
    """
    pages = PAGES.fullmatch(data)
    if pages is None:
        return _open_folder(Path(data).expanduser(), annotations, limit)
    if annotations is not None:
        raise ValueError("generated pages come with their annotations")
    named = dict(zip(("count", "height", "width"), pages.groups(), strict=True))
    samples = PageSamples(**{name: int(text) for name, text in named.items() if text})
    if not samples.count or min(samples.height, samples.width) < LEAST_PAGE_SIDE:
        raise ValueError(f"{data}: at least one page, of at least {LEAST_PAGE_SIDE} pixels either way")
    return samples if limit is None else replace(samples, count=min(samples.count, limit))


def unknown_classes(classes: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Those of the data set's classes that a model has none of. Raises ValueError for no class, or none in common."""
    if not classes:
        raise ValueError("there are no objects in the ground truth")
    unknown = tuple(name for name in classes if name not in labels)
    if len(unknown) == len(classes):
        raise ValueError(
            f"the model knows none of the classes in the ground truth ({_few(classes)}); it knows {_few(labels)}"
        )
    return unknown


def annotation_file(folder: Path) -> Path:
    """The one annotation file of a folder: COCO's own, or the only candidate. Raises ValueError."""
    coco = folder / "annotations" / COCO_VAL
    if coco.is_file():
        return coco
    candidates = sorted((folder / "annotations").glob("instances_*.json")) or [
        folder / name for name in FLAT_NAMES if (folder / name).is_file()
    ]
    candidates = candidates or sorted(folder.glob("*.json"))
    if not candidates:
        raise ValueError(
            f"{folder} holds no annotations: expected annotations/{COCO_VAL}, {' or '.join(FLAT_NAMES)}, or name the "
            "file with --annotations"
        )
    if len(candidates) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in candidates)
        raise ValueError(f"{folder} holds several annotation files ({names}): name one with --annotations")
    return candidates[0]


def image_folder(folder: Path, annotations: Path, first: str) -> Path:
    """Where the images of an annotation file lie, judged by the first one's name. Raises ValueError."""
    split = annotations.stem.removeprefix("instances_")
    places = list(dict.fromkeys((folder / split, folder, folder / "images", annotations.parent)))
    for place in places:
        if (place / first).is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise ValueError(f"{annotations} lists {first}, which is in none of {looked}")


def _open_folder(folder: Path, annotations: Path | None, limit: int | None) -> CocoSamples:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; data is a folder, or pages[:COUNT[:HEIGHTxWIDTH]]")
    file = annotations or annotation_file(folder)
    listed = tuple(read_coco(file)[:limit])
    if not listed:
        raise ValueError(f"{file} lists no images")
    images = image_folder(folder, file, listed[0].file_name)
    _all_there(images, listed)
    return CocoSamples(images, file, listed)


def _all_there(images: Path, listed: Sequence[CocoImage]) -> None:
    """Hours may lie before the last image: miss it now."""
    missing = [image.file_name for image in listed if not (images / image.file_name).is_file()]
    if missing:
        raise ValueError(f"{images} lacks {len(missing)} of {len(listed)} images: {_few(missing)}")


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
