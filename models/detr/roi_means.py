"""Mean features of strips cut into cells: `torchvision.ops.roi_align`, on channels-last maps and in either direction.

A cell's mean is a weighted sum of a few neighbouring positions of the map, each a row of all its channels side by side.
So it is a bag of rows: a fraction of the time that reading one channel after another takes on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True, slots=True)
class Taps:
    """Positions of one axis of a map that each cell of n strips reads: `index` int64 and `weight` [n, cells, taps]."""

    index: Tensor
    weight: Tensor


def taps(begin: Tensor, end: Tensor, cells: int, samples: int, size: Tensor) -> Taps:
    """Cut each interval `begin`..`end` [n] into equal cells; `samples` interpolated points in each make its mean.

    In units of the map's positions, the first of which is 0.5; `end` may come before `begin`. `size` [n] is the extent
    of the map. A point outside of the map by more than one position counts as zero, another as the nearest inside.
    """
    points = cells * samples
    share = (torch.arange(points, dtype=begin.dtype, device=begin.device) + 0.5) / points
    position = begin[:, None] + (end - begin)[:, None] * share - 0.5
    last = size[:, None] - 1
    inside = (position >= -1) & (position <= last + 1)
    position = torch.minimum(position.clamp(min=0), last)
    below = position.floor()
    above = torch.minimum(below + 1, last)
    upper = position - below
    weight = torch.stack((1 - upper, upper), -1) * (inside.to(upper.dtype) / samples)[..., None]
    shape = (len(begin), cells, 2 * samples)
    return Taps(torch.stack((below, above), -1).long().view(shape), weight.view(shape))


def roi_means(maps: Tensor, first: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Mean features [n, rows, columns, channels] of the cells of n strips.

    `maps` float [b, channels, h, w], fastest if channels-last. A tap's index is an offset within the flattened map,
    so either axis of it may be the strip's rows; `first` int64 [n] is where the map of a strip's image begins.
    """
    (n, down, row_taps), (across, column_taps) = rows.index.shape, columns.index.shape[1:]
    every = row_taps * column_taps
    # Every pair of taps side by side: additions and products of short rows are slow.
    row_index, row_weight = (x.repeat_interleave(column_taps, -1)[:, :, None] for x in (rows.index, rows.weight))
    column_index, column_weight = (x.repeat(1, 1, row_taps)[:, None] for x in (columns.index, columns.weight))
    index = ((row_index + first[:, None, None, None]) + column_index).view(n * down * across, every)
    weight = (row_weight * column_weight).view(n * down * across, every)
    flat = maps.permute(0, 2, 3, 1).flatten(0, 2)
    if torch.compiler.is_exporting():
        means = weighted_rows(flat, index, weight)
    else:
        means = embedding_bag(index, flat, mode="sum", per_sample_weights=weight)
    return means.view(n, down, across, flat.shape[1])


def weighted_rows(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """`embedding_bag`'s plain twin for graphs: ONNX has no such operator, and exporters make a loop of it.

    Sums [m, channels] of rows [l, channels] at index int64 [m, taps], weighted by [m, taps].
    """
    gathered = rows.index_select(0, index.flatten()).view(*index.shape, rows.shape[1])
    return (weight[:, None] @ gathered)[:, 0]
