"""The processes that train together: those that torchrun started, or only this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and yield this one's device.

    Tensors on a GPU travel by NCCL, others by gloo. With several GPUs each process takes its own.
    """
    if "WORLD_SIZE" not in os.environ:
        yield torch.device(device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    try:
        yield torch.device(device)
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's index."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of every process's float tensor, without gradient; all must call it."""
    values = values.detach()
    if ranks() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / ranks()


def global_mean_count(count: Tensor) -> Tensor:
    """The divisor of a process's sum, so that the mean over processes is that of the whole batch.

    The processes' mean count, standing for at least one object in all of them together.
    """
    return mean_over_processes(count).clamp(min=1 / ranks())


def any_process(yes: bool) -> bool:
    """Whether any process says yes; all must call it."""
    if ranks() == 1:
        return yes
    votes = torch.tensor(float(yes))
    dist.all_reduce(votes)
    return bool(votes > 0)


def gathered(own: Any) -> list[Any]:
    """The objects of all processes, by rank; all must call it."""
    if ranks() == 1:
        return [own]
    objects: list[Any] = [None] * ranks()
    dist.all_gather_object(objects, own)
    return objects
