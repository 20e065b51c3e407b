"""Measured collision rates: the share of hash seeds under which ACT puts two queries into one bucket."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.clustering.lsh import hash_buckets, hash_planes


def collision_rates(first: Tensor, second: Tensor, L: int, r: float, seeds: Sequence[int]) -> Tensor:
    """Return, for each pair of rows of [P, D], the share of seeds whose L rounds all put both into one bucket.

    float64 [P], on the CPU.
    """
    shared = torch.zeros(len(first), dtype=torch.float64)
    for seed in seeds:
        planes = hash_planes(first.shape[-1], L, seed, first.device, first.dtype)
        shared += (hash_buckets(first, planes, r) == hash_buckets(second, planes, r)).all(-1).cpu()
    return shared / len(seeds)
