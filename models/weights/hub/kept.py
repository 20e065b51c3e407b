"""What the hub's cache holds: snapshots that can be loaded without a connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.weights.errors import CorruptCheckpoint
from models.weights.foreign_json import read_json
from models.weights.hub.files import CONFIG, IMAGE_PROCESSORS, is_complete
from models.weights.hub.name import DEFAULT_REVISION, HubModel

DETECTORS: Final = ("ForObjectDetection", "ForSegmentation")
"""How transformers' classes of detectors end."""


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A detector in the cache: its name, the folder of its commit, and the bytes that it takes."""

    model: HubModel
    folder: Path
    size: int


def kept_folder(model: HubModel) -> Path | None:
    """The folder of a complete snapshot in the cache; None where there is none. Nothing is asked of the hub.

    A branch or tag is at the commit where it was when the hub was last asked.
    """
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model.repository, CONFIG, revision=model.revision)
    folder = Path(path).parent if isinstance(path, str) else None
    try:
        return folder if folder is not None and is_complete(folder) else None
    except CorruptCheckpoint:  # an index of shards; the hub has a better one
        return None


def knows_its_images(folder: Path) -> bool:
    """Whether a snapshot says how images are prepared. One that another program fetched may lack that file only."""
    return any((folder / name).is_file() for name in IMAGE_PROCESSORS)


def kept_models() -> list[KeptModel]:
    """Every detector in the cache, by name and revision. Whether this package can run it shows when it is loaded."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = [one for one in scan_cache_dir().repos if one.repo_type == "model"]
    except CacheNotFound:
        return []
    kept = [
        KeptModel(HubModel(one.repo_id, name), revision.snapshot_path, revision.size_on_disk)
        for one in repositories
        for revision in one.revisions
        if _is_detector(revision.snapshot_path)
        for name in _names(revision.refs, revision.commit_hash)
    ]
    return sorted(kept, key=lambda one: (one.model.repository, one.model.revision != DEFAULT_REVISION, str(one.model)))


def _names(refs: frozenset[str], commit: str) -> Iterator[str]:
    yield from refs or {commit}


def _is_detector(folder: Path) -> bool:
    try:
        architectures = read_json(folder / CONFIG).get("architectures")
        named = [name for name in architectures or () if isinstance(name, str) and name.endswith(DETECTORS)]
        return bool(named) and is_complete(folder)
    except (CorruptCheckpoint, OSError, TypeError):
        return False
