"""The folder where downloaded files stay."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.named_models import EMBEDDED
from models.weights.errors import UnknownModel
from models.weights.published import PUBLISHED, PublishedCheckpoint


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/act-detr`, or `~/.cache/act-detr`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "act-detr"


def place_in_cache(checkpoint: PublishedCheckpoint, cache_dir: Path | None = None) -> Path:
    """Where this checkpoint lies once it is downloaded."""
    return (cache_dir or default_cache_dir()) / checkpoint.file


def cached_path(
    name: str, cache_dir: Path | None = None, published: Mapping[str, PublishedCheckpoint] = PUBLISHED
) -> Path | None:
    """Find the downloaded file of a published model; None where it is not downloaded yet.

    A file gets this name only when it is complete and its sha256 was checked. Raises UnknownModel.
    """
    path = place_in_cache(published_checkpoint(name, published), cache_dir)
    return path if path.is_file() else None


def published_checkpoint(name: str, published: Mapping[str, PublishedCheckpoint] = PUBLISHED) -> PublishedCheckpoint:
    """Look up a published name. Raises UnknownModel with the names there are."""
    if name in EMBEDDED:
        raise UnknownModel(f"{name} is part of the package: there is nothing to download")
    if name not in published:
        raise UnknownModel(
            f"no published model is named {name!r}; there are: {', '.join(published)}, and repositories of the "
            "Hugging Face hub (org/name or org/name@revision)"
        )
    return published[name]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock: of several threads and processes one is inside, the others wait."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
