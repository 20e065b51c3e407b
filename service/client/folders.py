"""The image files below folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg", ".jpx", ".png", ".tif", ".tiff", ".webp"}
)
"""Endings of the formats that the service reads, in small letters."""


def image_files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield files as they are given, and for each folder the images below it, in the order of their names.

    An image of a folder is a file with one of SUFFIXES whose name does not begin with a dot. Links to files are
    followed, links to folders and folders whose name begins with a dot are not. Raises OSError for a folder that cannot
    be read; a file that does not exist is yielded.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _below(path)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in shown:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
            yield Path(entry.path)
