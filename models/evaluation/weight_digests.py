"""The files that a model's weights come from, and their digests."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from models.weights import PUBLISHED, cached_path
from models.weights.checkpoint_files import SUFFIXES
from models.weights.resolve import EMBEDDED


def weight_digests(model: str, cache_dir: Path | None = None) -> dict[str, str]:
    """File name to sha256, in hex, of the weights of a model that `models.weights.resolve` has found."""
    return {file.name: _sha256(file) for file in _weight_files(model, cache_dir)}


def _weight_files(model: str, cache_dir: Path | None) -> list[Path]:
    if model in EMBEDDED:
        return [Path(str(resources.files("models").joinpath("pretrained", f"{model}.safetensors")))]
    if model in PUBLISHED:
        path = cached_path(model, cache_dir)
        return [] if path is None else [path]
    path = Path(model).expanduser()
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
