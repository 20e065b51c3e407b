"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.export.errors import CannotExport
from models.whole_file import sync_folder


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write files to; after the block it takes the place of `path`, durably.

    A block that raises leaves nothing. Raises CannotExport where `path` is anything but a new or an empty folder.
    """
    path = path.absolute()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise CannotExport(f"{path} must be a folder that is new or empty")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.mkdir()
    try:
        yield part
        for file in part.iterdir():
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        sync_folder(part)
        if path.is_dir():
            path.rmdir()
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(path.parent)
