"""Find the file that an annotation's `file_name` means: below one folder and never outside, however a tool wrote it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

SAMPLED: Final = 20
"""Names that are looked for in each folder to find the one that they start from."""


def find_image(folder: Path, name: str) -> str | None:
    """The path of an image relative to `folder`, with slashes; None where no file below it is meant.

    Backslashes may separate folders, characters may be percent-encoded, accents composed or not. Of a path that
    starts elsewhere (absolute, of another machine, with more leading folders, with `..`) the longest end that exists
    below `folder` counts, so that no name leads out of it; links that lie in it are followed.
    """
    return next((path for path in _candidates(name) if _is_file(folder / path)), None)


def leads_out(name: str) -> bool:
    """Whether a name taken literally is of no file below its folder."""
    return any(_rooted(spelling) or ".." in spelling.split("/") for spelling in _spellings(name))


def image_folder(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The folder that has most of the first images, by the longest names; None where none has any."""
    best, best_score = None, (0, 0)
    for folder in folders:
        paths = [path for path in (find_image(folder, name) for name in names[:SAMPLED]) if path is not None]
        score = len(paths), sum(path.count("/") for path in paths)
        if score > best_score:
            best, best_score = folder, score
    return best


def _candidates(name: str) -> list[str]:
    """Relative paths that a name may mean, the longest first."""
    ends = [parts[start:] for parts in map(_parts, _spellings(name)) for start in range(len(parts))]
    return ["/".join(end) for end in sorted(ends, key=len, reverse=True)]


def _spellings(name: str) -> Iterator[str]:
    """Yield a name as it is, and as tools and file systems change it."""
    slashed = name.replace("\\", "/")
    plain = dict.fromkeys((name, slashed, unquote(slashed), unquote(slashed).replace("\\", "/")))
    yield from dict.fromkeys(
        form for text in plain for form in (text, *(unicodedata.normalize(name, text) for name in ("NFC", "NFD")))
    )


def _parts(path: str) -> list[str]:
    """What follows the last `..`, without empty parts."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    last = max((index for index, part in enumerate(parts) if part == ".."), default=-1)
    return parts[last + 1 :]


def _rooted(path: str) -> bool:
    return path.startswith("/") or path[1:3] == ":/"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for a file system
        return False
