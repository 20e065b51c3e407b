"""Where the annotations and the images of a COCO-format data set lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Split = Literal["train", "val"]

FOLDERS: Final[dict[Split, tuple[str, ...]]] = {"train": ("train",), "val": ("valid", "val", "validation")}


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """An annotation file and the folder that its `file_name`s start from."""

    annotations: Path
    images: Path


def find_coco(folder: Path, split: Split) -> CocoFiles | None:
    """Find one split of a data set; None where the folder has no such split.

    Three layouts are known:

    - COCO's: `annotations/instances_train2017.json` with `train2017/`, any year or none, images also in `images/`;
    - a folder for each split, `train/` and `valid/` (`val/`, `validation/`), each as the next;
    - one JSON file beside its images, or beside `images/`: all of it is for training.

    Raises FileNotFoundError where the folder does not exist, or an annotation file's images do not, and
    ValueError for several annotation files to choose from.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    annotations = _only(folder.glob(f"annotations/instances_{split}*.json"), folder)
    if annotations is not None:
        name = annotations.stem.removeprefix("instances_")
        return CocoFiles(annotations, _images(annotations, (folder / name, folder / "images" / name)))
    for name in FOLDERS[split]:
        found = _flat(folder / name)
        if found is not None:
            return found
    return _flat(folder) if split == "train" else None


def training_files(folder: Path) -> CocoFiles:
    """The split to train on. Raises as `find_coco`, and FileNotFoundError where there is none."""
    found = find_coco(folder, "train")
    if found is None:
        raise FileNotFoundError(
            f"{folder} holds no COCO training data: expected annotations/instances_train2017.json and train2017/, "
            "train/_annotations.coco.json beside its images, or one .json file beside its images"
        )
    return found


def _flat(folder: Path) -> CocoFiles | None:
    """One JSON file in the folder itself; the annotations that Roboflow writes go first."""
    exported = folder / "_annotations.coco.json"
    annotations = exported if exported.is_file() else _only(folder.glob("*.json"), folder)
    if annotations is None:
        return None
    images = folder / "images"
    return CocoFiles(annotations, images if images.is_dir() else folder)


def _only(files: Iterable[Path], folder: Path) -> Path | None:
    """The one file there is, or None."""
    found = sorted(files)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder} has several annotation files to choose from: {names}")
    return found[0] if found else None


def _images(annotations: Path, folders: tuple[Path, ...]) -> Path:
    """The first folder that exists."""
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{annotations} has no images: there is no {' or '.join(map(str, folders))}")
