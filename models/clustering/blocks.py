"""Members of each cluster side by side, in blocks of equal size, for batched products that need no count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Blocks:
    """Points of G groups, sorted by cluster, each cluster in blocks of its own; the last block of one is part empty.

    `clusters` int64 [G * blocks]: of which cluster, counted through the groups, a block is. `points` int64
    [G * blocks * size]: the point, counted through the groups, in every place; any point in places that are empty.
    `places` int64 [G * N]: the place of every point.
    """

    clusters: Tensor
    points: Tensor
    places: Tensor
    size: int

    def gather(self, rows: Tensor) -> Tensor:
        """Bring a row [D] for every point, rows [G * N, D], into blocks [G * blocks, size, D]."""
        return rows.index_select(0, self.points).view(-1, self.size, rows.shape[-1])

    def scatter(self, blocks: Tensor) -> Tensor:
        """Take every point's row from blocks [G * blocks, size, D]: [G * N, D]."""
        return blocks.flatten(0, 1).index_select(0, self.places)


def cluster_blocks(ids: Tensor, clusters: int, size: int) -> Blocks:
    """Lay out points with cluster ids int64 [G, N] in 0..clusters-1 in blocks of `size` places.

    There are as many blocks as could be needed (`block_count`), so that nothing is read back from a GPU.
    """
    groups, tokens = ids.shape
    blocks = block_count(tokens, clusters, size)
    # Exporters know no stable sort; which of a cluster's members comes first changes no result but by rounding.
    ordered, order = torch.sort(ids) if torch.compiler.is_exporting() else torch.sort(ids, stable=True)
    sizes = torch.zeros(groups, clusters, dtype=ids.dtype, device=ids.device).scatter_add_(
        -1, ids, torch.ones_like(ids)
    )
    needed = (sizes + (size - 1)) // size
    # From a point's rank among the sorted to its place: what the part-empty blocks of clusters before its own add.
    added = (needed.cumsum(-1) - needed) * size - (sizes.cumsum(-1) - sizes)
    place = torch.arange(tokens, device=ids.device) + added.gather(-1, ordered)
    points = ids.new_zeros(groups, blocks * size).scatter_(-1, place, order)
    of_block = ids.new_zeros(groups, blocks).scatter_(-1, place // size, ordered)
    places = torch.zeros_like(place).scatter_(-1, order, place)
    group = torch.arange(groups, device=ids.device)[:, None]
    return Blocks(
        (of_block + group * clusters).flatten(),
        (points + group * tokens).flatten(),
        (places + group * (blocks * size)).flatten(),
        size,
    )


def block_count(tokens: int, clusters: int, size: int) -> int:
    """Blocks of `size` places that any clusters of the tokens fit into, each cluster in blocks of its own."""
    return tokens // size + min(clusters, tokens)
