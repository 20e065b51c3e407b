"""The device that a model runs on."""

from __future__ import annotations

import torch


def choose_device(name: str) -> str:
    """Return `name`, one of cpu, cuda and cuda:N, or the first GPU, or cpu without one, for `auto`.

    Raises ValueError for any other name and for a GPU that this machine lacks.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if name != "cuda" and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name[5:] or 0) >= count:
        raise ValueError(f"device {name} is not there: this machine has {count} CUDA devices")
    return name
