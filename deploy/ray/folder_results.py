"""The results of a folder's images: files of JSON lines, and which images they already have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOTDIR
from pathlib import Path

from models.whole_file import whole_file
from service.client.folders import image_files


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What came of a shard: `lines` of JSON, one for each image, and why others failed, by their name."""

    lines: Sequence[str]
    failures: Mapping[str, str]


def image_names(folder: Path) -> list[str]:
    """Return the images below a folder, as paths relative to it, in alphabetical order. Raises OSError."""
    if not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, "There is no such folder", str(folder))
    return [path.relative_to(folder).as_posix() for path in image_files([folder])]


class ResultFolder:
    """A folder of files `part-00000.jsonl`, `part-00001.jsonl`, ..., each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._next = max((int(part.stem.removeprefix("part-")) for part in self._parts()), default=-1) + 1

    def names(self) -> set[str]:
        """Return the images that have a result."""
        return {json.loads(line)["file"] for part in self._parts() for line in _lines(part)}

    def add(self, lines: Sequence[str]) -> None:
        """Write one more part, durably; without lines, none."""
        if not lines:
            return
        with whole_file(self._folder / f"part-{self._next:05}.jsonl") as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._next += 1

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-[0-9]*.jsonl"))


def _lines(part: Path) -> Iterator[str]:
    with part.open(encoding="utf-8") as lines:
        yield from lines
