"""Cut the model out of a training checkpoint: `python -m models.training.export CHECKPOINT MODEL.safetensors`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from models.training.starting_point import averaged_weights, checkpoint_config
from models.weights import save_checkpoint


def export(checkpoint: Path, model: Path) -> None:
    """Write the averaged weights, without what only training needs."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    save_checkpoint(model, averaged_weights(state), checkpoint_config(state))


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
