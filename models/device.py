"""The device that a model runs on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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


def on_device(values: Sequence[float] | Tensor, device: torch.device) -> Tensor:
    """Numbers, or a CPU tensor, as a tensor on `device`.

    A copy from ordinary memory to a GPU waits for all that was asked of the GPU before. One from pinned memory does
    not.
    """
    host = values if isinstance(values, Tensor) else torch.tensor(values)
    if device.type != "cuda":
        return host.to(device)
    return torch.empty(host.shape, dtype=host.dtype, pin_memory=True).copy_(host).to(device, non_blocking=True)


def on_host(*results: Tensor) -> tuple[Tensor, ...]:
    """Results of one device on the CPU. A GPU is waited for once, after the last."""
    host = tuple(result.to("cpu", non_blocking=True) for result in results)
    if results and results[0].is_cuda:
        torch.cuda.current_stream(results[0].device).synchronize()
    return host
