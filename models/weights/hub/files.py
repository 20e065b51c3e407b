"""The files of a snapshot: which of them a model consists of, and how each is checked."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.weights.trainer_output import WEIGHTS
from models.weights.transformers_folder import shard_of_weights
from models.weights.transformers_preprocessor import IMAGES, PROCESSOR

CONFIG: Final = "config.json"
IMAGE_PROCESSORS: Final = (IMAGES, PROCESSOR)
INDEX: Final = ".index.json"
SHA256: Final = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it; None for what it does not say.

    `size` is in bytes. Large files have a `sha256`, others the `git_sha1` by which git stores their content.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None

    def fault(self, path: Path) -> str | None:
        """Say why a file is not this one; None where it is."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size} bytes instead of {self.size}"
        if self.sha256 is not None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return None if digest == self.sha256 else f"its sha256 is {digest} instead of {self.sha256}"
        if self.git_sha1 is not None:
            content = path.read_bytes()
            digest = hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest()
            return None if digest == self.git_sha1 else f"git would call it {digest} instead of {self.git_sha1}"
        return None


def weights_file(names: Container[str]) -> str | None:
    """Choose the file of the weights, or the index of their shards: safetensors before pickles. None: there is none."""
    candidates = [name + end for name in WEIGHTS for end in ("", INDEX)]
    return next((name for name in candidates if name in names), None)


def weights_files(folder: Path, first: str) -> list[str]:
    """The files that hold the weights, given the one that `weights_file` chose and that is in the folder.

    Raises CorruptCheckpoint for an index that cannot be read, or that leads out of the folder.
    """
    return sorted(set(shard_of_weights(folder / first).values())) if first.endswith(INDEX) else [first]


def is_complete(folder: Path) -> bool:
    """Whether nothing of a model is missing in a snapshot, as far as can be told without the hub."""
    names = {path.name for path in folder.iterdir() if path.exists()}  # a link may lead nowhere
    first = weights_file(names)
    return CONFIG in names and first is not None and names.issuperset(weights_files(folder, first))


def is_intact(folder: Path) -> bool:
    """Check the files of a complete snapshot by their names in the cache, sha256 for large ones; drop damaged ones."""
    first = weights_file({path.name for path in folder.iterdir()})
    names = weights_files(folder, first) if first else []
    return not drop_damaged(_as_kept(folder / name) for name in names if (folder / name).is_symlink())


def drop_damaged(files: Iterable[tuple[HubFile, Path]]) -> list[HubFile]:
    """Check files of the cache; those that are not what they should be are deleted and returned."""
    damaged = []
    for file, path in files:
        if (fault := file.fault(path)) is not None:
            log.warning("%s is damaged (%s) and is dropped", path, fault)
            discard(path)
            damaged.append(file)
    return damaged


def discard(path: Path) -> None:
    """Delete a file of the cache: its place in the snapshot and its content, to which that is a link."""
    with suppress(OSError):  # a cache that cannot be written keeps it
        while path.is_symlink():
            target = path.parent / path.readlink()
            path.unlink()
            path = target
        path.unlink()


def _as_kept(path: Path) -> tuple[HubFile, Path]:
    name = path.readlink().name
    return HubFile(path.name, sha256=name if SHA256.fullmatch(name) else None), path
