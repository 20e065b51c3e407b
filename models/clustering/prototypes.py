"""Clusters of queries and their prototypes (ACT, section 3.2), in parallel and without reading counts back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Clusters:
    """`ids` int64 [..., N] in 0..C-1; `counts` int64 [...], the C of every image and head."""

    ids: Tensor
    counts: Tensor


def assign_clusters(keys: Tensor) -> Clusters:
    """Number the distinct keys int64 [..., N] of every row by rising key: sort, compare neighbours, prefix sum."""
    ordered, order = torch.sort(keys, dim=-1, stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    rank = first.cumsum(-1) - 1
    return Clusters(torch.empty_like(rank).scatter_(-1, order, rank), first.sum(-1))


def mean_prototypes(q: Tensor, clusters: Clusters, capacity: int) -> Tensor:
    """Mean [..., capacity, D] of the queries [..., N, D] of each cluster; zero past the last cluster.

    Sums are made in a fixed order on every device. `capacity` is at least the largest count.
    """
    rows, dim = q.shape[-2:]
    groups = q[..., 0, 0].numel()
    start = torch.arange(groups, device=q.device).view(*q.shape[:-2], 1) * capacity
    slot = (clusters.ids + start).flatten()
    sums = q.new_zeros(groups * capacity, dim)
    sizes = q.new_zeros(groups * capacity, 1)
    members = q.reshape(-1, dim)
    _add_rows(sums, slot, members)
    _add_rows(sizes, slot, members.new_ones(groups * rows, 1))
    means = sums / sizes.clamp(min=1)
    return means.view(*q.shape[:-2], capacity, dim)


def _add_rows(sums: Tensor, slot: Tensor, rows: Tensor) -> None:
    """sums[slot[i]] += rows[i]. CUDA's scatter_add_ adds in any order, its accumulating index_put_ in one."""
    if sums.is_cuda:
        sums.index_put_((slot,), rows, accumulate=True)
    else:
        sums.scatter_add_(0, slot[:, None].expand_as(rows), rows)


def broadcast(values: Tensor, clusters: Clusters) -> Tensor:
    """Hand each cluster's row of values [..., C, D] to its members: [..., N, D]."""
    rows, dim = values.shape[-2:]
    groups = values[..., 0, 0].numel()
    start = torch.arange(groups, device=values.device).view(*values.shape[:-2], 1) * rows
    slot = (clusters.ids + start).flatten()
    return values.reshape(-1, dim).index_select(0, slot).view(*clusters.ids.shape, dim)


def own_row(values: Tensor, ids: Tensor, token: int) -> Tensor:
    """The row [..., 1, D] of values [..., C, D] that belongs to the cluster of one token; ids int64 [..., N]."""
    own = ids[..., token, None, None].expand(*ids.shape[:-1], 1, values.shape[-1])
    return values.gather(-2, own)
