"""How often queries at a distance really share a bucket, beside p(c)^L (ACT, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.clustering.collision import collision_probability
from models.tuning.collision_rates import collision_rates


@dataclass(frozen=True, slots=True)
class SharingBin:
    """Pairs of about one distance: how many, their mean distance, and the chance to share a bucket."""

    pairs: int
    distance: float
    measured: float
    predicted: float


def sharing_by_distance(
    first: Tensor, second: Tensor, L: int, r: float, seeds: Sequence[int], bins: int = 16
) -> list[SharingBin]:
    """Pairs of rows of [P, D] in bins of equally many by distance, nearest first; predicted is the mean of p(c)^L."""
    distances = (first - second).norm(dim=-1).double().cpu()
    shared = collision_rates(first, second, L, r, seeds)
    order = distances.argsort()
    return [
        SharingBin(
            len(part),
            float(distances[part].mean()),
            float(shared[part].mean()),
            sum(collision_probability(c, L, r) for c in distances[part].tolist()) / len(part),
        )
        for part in order.chunk(bins)
        if len(part)
    ]


def query_pairs(queries: Tensor, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs of rows of queries [H, N, D] of one head, half drawn freely and half from nearest neighbours.

    Two tensors [P, D] with about `pairs` rows. Nearest neighbours are in it because pairs at hand seldom are near.
    """
    heads, tokens, _ = queries.shape
    each = max(1, pairs // (2 * heads))
    found: list[tuple[Tensor, Tensor]] = []
    for own in queries.cpu():
        here = torch.randint(tokens, (each,), generator=generator)
        found.append((own[here], own[torch.randint(tokens, (each,), generator=generator)]))
        nearest = torch.cdist(own[here], own).topk(min(9, tokens), largest=False).indices
        rank = torch.randint(1, nearest.shape[1], (each, 1), generator=generator) if tokens > 1 else None
        found.append((own[here], own[nearest.gather(1, rank)[:, 0]] if rank is not None else own[here]))
    return torch.cat([a for a, _ in found]), torch.cat([b for _, b in found])


def synthetic_pairs(dim: int, pairs: int, furthest: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs [P, D] from a normal cloud, in any direction, at distances drawn evenly from 0 to `furthest`."""
    start = 4 * torch.randn(pairs, dim, generator=generator, dtype=torch.float64)
    step = torch.randn(pairs, dim, generator=generator, dtype=torch.float64)
    distance = furthest * torch.rand(pairs, 1, generator=generator, dtype=torch.float64)
    return start, start + distance * step / step.norm(dim=-1, keepdim=True)
