"""Open the samples that a command's `--data` names: generated pages, or a folder in a layout of COCO's format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from models.data.coco import read_coco
from models.data.coco_files import evaluation_files
from models.data.findings import few
from models.data.samples import CocoSamples, PageSamples, Samples

MIN_PAGE_SIDE: Final = 64
PAGES: Final = re.compile(r"(pages|journals)(?::(\d+))?(?::(\d+)x(\d+))?")


def open_samples(data: str, annotations: Path | None = None, limit: int | None = None) -> Samples:
    """Open `pages`, `pages:COUNT`, `pages:COUNT:HEIGHTxWIDTH`, `journals` likewise, or a folder (`./pages` is one).

    `models.data.coco_files` says what a folder may look like; `annotations` names the annotation file where it lies
    elsewhere or is one of several. `limit` is the maximum number of images, the first ones.

    Raises ValueError, or OSError, where something is missing, ambiguous or not of this form.
    """
    pages = PAGES.fullmatch(data)
    if pages is None:
        return _open_folder(Path(data).expanduser(), annotations, limit)
    if annotations is not None:
        raise ValueError("generated pages come with their annotations")
    kinds, *numbers = pages.groups()
    groups = zip(("count", "height", "width"), numbers, strict=True)
    named: dict[str, Any] = {"kinds": kinds, **{name: int(text) for name, text in groups if text}}
    samples = PageSamples(**named)
    if not samples.count or min(samples.height, samples.width) < MIN_PAGE_SIDE:
        raise ValueError(f"{data}: at least one page, of at least {MIN_PAGE_SIDE} pixels either way")
    return samples if limit is None else replace(samples, count=min(samples.count, limit))


def unknown_classes(classes: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Those of the data set's classes that a model has none of. Raises ValueError for no class, or none in common."""
    if not classes:
        raise ValueError("there are no objects in the ground truth")
    unknown = tuple(name for name in classes if name not in labels)
    if len(unknown) == len(classes):
        raise ValueError(
            f"the model knows none of the classes in the ground truth ({few(classes)}); it knows {few(labels)}"
        )
    return unknown


def _open_folder(folder: Path, annotations: Path | None, limit: int | None) -> CocoSamples:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; data is a folder, or pages or journals[:COUNT[:HEIGHTxWIDTH]]")
    return CocoSamples(read_coco(evaluation_files(folder, annotations), limit))
