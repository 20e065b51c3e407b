"""Checkpoint files: `.pth`, `.pt`, `.bin` and `.ckpt` that hold nothing but tensors, and `.safetensors`."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.config import DetrConfig
from models.weights.config_json import config_from_json, config_to_json
from models.weights.errors import CorruptCheckpoint, UnsafeCheckpoint, WeightsError
from models.weights.harmless_globals import HARMLESS
from models.whole_file import whole_file

PICKLES: Final = (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES: Final = (*PICKLES, ".safetensors")
CONFIG_KEY: Final = "act_detr_config"
WRAPPERS: Final = ("model", "state_dict", "model_state_dict")
UNFINISHED: Final = {"model", "averaged", "step"}
"""Keys of our own training's checkpoints, which have several sets of weights."""

SAVE_AGAIN: Final = (
    "python -c \"import torch; c = torch.load('{path}', map_location='cpu', weights_only=False); "
    "torch.save(c.get('model', c.get('state_dict', c)), 'weights.pth')\""
)


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file by name, on the CPU, floating ones as float32.

    `{"model": ...}` (as DETR's own training writes) and `{"state_dict": ...}` (as Lightning does) are unwrapped, batch
    norm's counters dropped. Raises CorruptCheckpoint, UnsafeCheckpoint, or WeightsError where it cannot be read.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path} should end in one of {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size == 0:
            raise CorruptCheckpoint(f"{path} is empty")
        loaded = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except SafetensorError as error:
        raise CorruptCheckpoint(f"{path} is damaged or no safetensors file ({error})") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error})") from error
    return _tensors(loaded, path)


def save_checkpoint(path: Path, detr_state_dict: Mapping[str, Tensor], config: DetrConfig) -> None:
    """Write a `.safetensors` file that knows its own configuration; it appears complete or not at all."""
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)  # nothing shares memory
        for key, value in detr_state_dict.items()
        if not key.endswith("num_batches_tracked")
    }
    with whole_file(path) as part:
        save_file(tensors, part, metadata={CONFIG_KEY: config_to_json(config)})


def read_config(path: Path) -> DetrConfig | None:
    """Read the configuration inside a file that `save_checkpoint` wrote; None for any other checkpoint.

    Raises CorruptCheckpoint where the file or the configuration is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(CONFIG_KEY)
    except (SafetensorError, OSError) as error:
        raise CorruptCheckpoint(f"{path} is damaged or no safetensors file ({error})") from error
    try:
        return None if text is None else config_from_json(text)
    except ValueError as error:
        raise CorruptCheckpoint(f"{path} has a configuration that cannot be read: {error}") from error


def _load_pickle(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(4)
    zipped = start == b"PK\x03\x04"
    if not zipped and start[:1] != b"\x80":
        raise CorruptCheckpoint(f"{path} is no PyTorch checkpoint")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        reason = [line for line in str(error).splitlines() if "nsupported" in line] or ["not plain weights"]
        raise UnsafeCheckpoint(
            f"{path} was refused: it holds more than tensors and plain values, so loading it could run code "
            f"({reason[-1].strip()}); save only its state dict, best as .safetensors. If you trust the file: "
            f"{SAVE_AGAIN.format(path=str(path))}"
        ) from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle makes the unpickler fail in every possible way
        raise CorruptCheckpoint(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and loaded.keys() >= UNFINISHED:
        raise WeightsError(f"{path} is for resuming training; serve the .safetensors file beside it")
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CorruptCheckpoint(f"{path} holds no state dict")
    state: dict[str, Tensor] = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CorruptCheckpoint(f"{path} holds no state dict: {key!r} is a {type(value).__name__}")
        if not key.endswith("num_batches_tracked"):
            state[key] = value.detach().float() if value.is_floating_point() else value.detach()
    return state
