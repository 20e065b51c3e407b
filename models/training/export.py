"""Cut the model out of a training checkpoint: `python -m models.training.export CHECKPOINT MODEL.safetensors`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from models.config import pages_small
from models.weights import save_checkpoint


def export(checkpoint: Path, model: Path) -> None:
    """Write the averaged weights, without what only training needs."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    averaged = state["averaged"]
    prefix = "module."
    weights = {key.removeprefix(prefix): value for key, value in averaged.items() if key.startswith(prefix)}
    save_checkpoint(model, weights, pages_small())


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
