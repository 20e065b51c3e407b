"""The files of a COCO-format data set: one finder for training and evaluation.

These layouts are known; a split is `train` or `val` (`valid` and `validation`, too), and evaluation takes `test`
where there is no `val`:

- COCO's and CVAT's: `annotations/instances_train2017.json`, any year or none, with the images in `train2017/` or
  `images/train2017/`; other names in `annotations/` go by the word of their split;
- a folder for each split, as Roboflow writes them: `train/`, `valid/`, each with `_annotations.coco.json` or one
  other file, or laid out as the next;
- one file for all of it, as Label Studio's `result.json`, or one per split, as `custom_train.json`.

Images lie where the layout says, in `images/`, or beside the annotations. A file that names no split is all there is:
training learns from it, and evaluation scores on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Split = Literal["train", "val", "test"]

WORDS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "minival"),
    "test": ("test", "testing"),
}
"""Words for a split in the names of files and folders."""
PREFERRED: Final = ("_annotations.coco.json", "annotations.json")
MAX_NAMED: Final = 5
OWN: Final = "instances_"
"""Prefix of COCO's box annotations: its captions and keypoints lie beside them."""
EXPECTED: Final = (
    "annotations/instances_{split}2017.json and {split}2017/, {split}/_annotations.coco.json beside its images, "
    "or one .json beside its images"
)


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """An annotation file and the folders that its `file_name`s may start from, the likeliest first."""

    annotations: Path
    folders: tuple[Path, ...]


def training_files(folder: Path, annotations: Path | None = None) -> CocoFiles:
    """The files to train on: the split of that name, or else the file that names none.

    `annotations` is the file where it is not to be looked for. Raises FileNotFoundError for what is missing, and
    ValueError for several files to choose from.
    """
    return _required(folder, annotations, ("train", None), "train", "--annotations")


def validation_files(folder: Path, annotations: Path | None = None) -> CocoFiles | None:
    """The files to validate on while training; None without such a split. Raises as `training_files`."""
    if annotations is not None:
        return _named(folder, annotations)
    return _first(folder, ("val",), "--val-annotations")


def evaluation_files(folder: Path, annotations: Path | None = None) -> CocoFiles:
    """The files to score on: validation, test, a file that names no split, or training. Raises as `training_files`."""
    return _required(folder, annotations, ("val", "test", None, "train"), "val", "--annotations")


def _required(
    folder: Path, annotations: Path | None, splits: Sequence[Split | None], example: Split, option: str
) -> CocoFiles:
    if annotations is not None:
        return _named(folder, annotations)
    files = _first(folder, splits, option)
    if files is None:
        expected = EXPECTED.format(split=example)
        raise FileNotFoundError(f"{folder} holds no COCO annotations: expected {expected}; or name them with {option}")
    return files


def _named(folder: Path, annotations: Path) -> CocoFiles:
    """The files of an annotation file that a person names, anywhere."""
    _check_folder(folder)
    if not annotations.is_file():
        raise FileNotFoundError(f"there is no file {annotations}")
    return _files(folder, annotations)


def _first(folder: Path, splits: Iterable[Split | None], option: str) -> CocoFiles | None:
    """The first of several splits that the folder has."""
    _check_folder(folder)
    return next((files for split in splits if (files := _find(folder, split, option)) is not None), None)


def _find(folder: Path, split: Split | None, option: str) -> CocoFiles | None:
    """The files of one split, or those that name none, in a folder."""
    for parent in (folder / "annotations", folder):
        file = _only([path for path in parent.glob("*.json") if _split(path.stem) == split], folder, option)
        if file is not None:
            return _files(folder, file)
    for word in WORDS[split] if split else ():
        files = _in_split(folder / word, option)
        if files is not None:
            elsewhere = _distinct(_folders(folder, files.annotations, split))
            return CocoFiles(files.annotations, tuple(dict.fromkeys((*files.folders, *elsewhere))))
    return None


def _in_split(folder: Path, option: str) -> CocoFiles | None:
    """The files in a split's own folder, whatever the annotation file is called."""
    for parent in (folder, folder / "annotations"):
        file = _only(parent.glob("*.json"), folder, option)
        if file is not None:
            return _files(folder, file)
    return None


def _files(folder: Path, annotations: Path) -> CocoFiles:
    return CocoFiles(annotations, _distinct(_folders(folder, annotations, _split(annotations.stem))))


def _folders(folder: Path, annotations: Path, split: Split | None) -> Iterable[Path]:
    """Yield the folders that the images of a file may lie in, existing or not."""
    own = annotations.stem.removeprefix(OWN)
    for name in (own, *(WORDS[split] if split else ())):
        yield folder / name
        yield folder / "images" / name
    for parent in (annotations.parent, folder):
        yield parent / "images"
        yield parent


def _distinct(folders: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for path in folders if path.is_dir()))


def _split(stem: str) -> Split | None:
    """The one split that a name has a word of."""
    words = set(re.findall(r"[a-z]+", stem.lower()))
    named: list[Split] = [split for split, names in WORDS.items() if words.intersection(names)]
    return named[0] if len(named) == 1 else None


def _only(files: Iterable[Path], folder: Path, option: str) -> Path | None:
    """The only file, those that are sure to hold boxes first; None without any. Raises ValueError for several."""
    paths = sorted(files)
    for likelier in ([path for path in paths if path.name in PREFERRED or path.name.startswith(OWN)], paths):
        if len(likelier) == 1:
            return likelier[0]
        if likelier:
            names = ", ".join(str(path.relative_to(folder)) for path in likelier[:MAX_NAMED])
            names += f" and {len(likelier) - MAX_NAMED} more" if len(likelier) > MAX_NAMED else ""
            raise ValueError(f"{folder} has several annotation files ({names}): name one with {option}")
    return None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
