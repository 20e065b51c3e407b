"""CPU threads: an inference thread computes with a pool of threads, every other thread computes by itself.

OpenMP keeps a pool for each thread that computes in parallel. If the pools have more threads than there are cores,
libgomp no longer spins between parallel regions: each region wakes its threads up and puts them to sleep, several times
per layer.
"""

from __future__ import annotations

from functools import cache

import torch

from service.cores import available_cores


@cache
def default_threads() -> int:
    """Return the number of threads that PyTorch chooses, or that of the cores that the container may use if it is less.

    The first call has to come before `compute_with`.
    """
    return min(torch.get_num_threads(), available_cores())


def compute_with(threads: int) -> None:
    """Let the calling thread compute with a pool of so many threads, itself included.

    PyTorch gives a thread the number that any thread set last when it first computes: asking for it before is that
    first time, so that nothing changes the number afterwards.
    """
    default_threads()
    torch.get_num_threads()
    torch.set_num_threads(threads)
