"""The output folder of transformers' Trainer, and the checkpoint in it that is the model."""

from __future__ import annotations

import logging
from pathlib import Path, PureWindowsPath
from typing import Final

from models.weights.errors import CorruptCheckpoint
from models.weights.foreign_json import read_json
from models.weights.transformers_preprocessor import CHECKPOINT

WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
STATE: Final = "trainer_state.json"

log = logging.getLogger(__name__)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model's weights, whole or in shards."""
    return any((folder / name).is_file() or (folder / f"{name}.index.json").is_file() for name in WEIGHTS)


def model_folder(folder: Path) -> Path:
    """The folder itself where it holds a model, otherwise the best or the newest checkpoint in it.

    The best is what the newest one's trainer_state.json names, if it is still there. Which one is taken is logged.
    A folder without either is returned as it is, for its reader to complain of.
    """
    checkpoints = {} if has_weights(folder) else _checkpoints(folder)
    if not checkpoints:
        return folder
    newest = max(checkpoints)
    best = _best(checkpoints[newest])
    chosen = best if best in checkpoints else newest
    log.warning(
        "%s holds no model itself, but checkpoints of the steps %s: %s, the %s, is taken",
        folder,
        ", ".join(map(str, sorted(checkpoints))),
        checkpoints[chosen].name,
        "best by its trainer_state.json" if best in checkpoints else "newest",
    )
    return checkpoints[chosen]


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Complete checkpoints by their step."""
    matches = ((CHECKPOINT.fullmatch(path.name), path) for path in folder.iterdir())
    return {
        int(match[1]): path
        for match, path in matches
        if match and (path / "config.json").is_file() and has_weights(path)
    }


def _best(newest: Path) -> int | None:
    """Step of the best checkpoint so far, where the Trainer was given a measure for it."""
    try:
        state = read_json(newest / STATE)
    except CorruptCheckpoint:
        return None  # a run without it, or cut off while it was written
    name = state.get("best_model_checkpoint")
    match = CHECKPOINT.fullmatch(PureWindowsPath(name).name) if isinstance(name, str) else None
    step = int(match[1]) if match else state.get("best_global_step")
    return step if isinstance(step, int) else None
