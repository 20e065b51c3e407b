"""The images that a command's arguments name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client.folders import image_files


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file, and its path below the folder that was named; of a file that was named itself, its name."""

    file: Path
    below: Path


def found_images(paths: Sequence[Path]) -> list[FoundImage]:
    """Return the files that are named, and those below folders that are. Raises ValueError for none, and OSError."""
    found = list(_found(paths))
    if not found:
        raise ValueError(f"there are no image files below {', '.join(map(str, paths))}")
    return found


def _found(paths: Sequence[Path]) -> Iterator[FoundImage]:
    for path in paths:
        for file in image_files([path]):
            yield FoundImage(file, Path(file.name) if file == path else file.relative_to(path))
