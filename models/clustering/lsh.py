"""Multi-round exact Euclidean locality-sensitive hashing (ACT, section 3.2; E2LSH)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.attention_config import MAX_HASH_ROUNDS


@dataclass(frozen=True, slots=True)
class HashPlanes:
    """`normals` [L, D] drawn from N(0, 1); `offsets` [L] drawn from U(0, 1), in units of the bucket width."""

    normals: Tensor
    offsets: Tensor


@lru_cache(maxsize=64)
def hash_planes(head_dim: int, rounds: int, seed: int, device: torch.device, dtype: torch.dtype) -> HashPlanes:
    """Hash planes that depend only on the arguments.

    Drawn for `MAX_HASH_ROUNDS` and cut to `rounds`: one more round only ever splits buckets.
    """
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(MAX_HASH_ROUNDS, head_dim, generator=generator, dtype=torch.float64)
    offsets = torch.rand(MAX_HASH_ROUNDS, generator=generator, dtype=torch.float64)
    return HashPlanes(normals[:rounds].to(device=device, dtype=dtype), offsets[:rounds].to(device=device, dtype=dtype))


def hash_buckets(q: Tensor, planes: HashPlanes, r: float) -> Tensor:
    """floor((a_l q + b_l) / r) for every query and round.

    q [..., N, D] to whole numbers [..., N, L] of q's dtype. b_l is U(0, r): an offset in units of r added after
    the division.
    """
    return (q @ (planes.normals.T / r)).add_(planes.offsets).floor_()


def bucket_keys(buckets: Tensor) -> Tensor:
    """One int64 key [..., N] for every bucket, a row [..., N, L] of whole numbers.

    Equal buckets have equal keys. Distinct ones collide with probability below 2^-62 times the largest
    power of two in their differences: for N = 20 000 queries whose hashes differ by less than 2^10, below 1e-7
    a head. The keys are linear in the bucket modulo 2^64 with fixed odd multipliers.
    """
    products = buckets.to(torch.int64, copy=True)
    return products.mul_(_multipliers(buckets.shape[-1], buckets.device)).sum(-1)


@lru_cache(maxsize=64)
def _multipliers(rounds: int, device: torch.device) -> Tensor:
    """Odd int64 [L], the same for ever."""
    generator = torch.Generator().manual_seed(0x0AC7)
    limits = torch.iinfo(torch.int64)
    drawn = torch.randint(limits.min, limits.max, (MAX_HASH_ROUNDS,), generator=generator)
    return (drawn | 1)[:rounds].to(device)
