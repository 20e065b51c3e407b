"""Token merging (ToMe, arXiv 2210.09461) around an encoder, without training: neighbours that are alike are one token.

The tokens of an image lie on a grid. In each cell of 2 x 2 the first token is a target, and the others may be merged
into it: those whose values are most similar to their target's (cosine) are, as many as the ratio says. A merged token
has the mean of the values and of the position encodings of those it stands for, and is attended to as often as there
are of them (proportional attention). After the encoder, every token gets the output of the one that stands for it.
ToMe merges within each layer, with a target anywhere; `docs/tangent-attention.md` has what that costs in a DETR.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, pad

from models.device import on_device
from models.images import PackedTokens
from models.precision import at_least_float32


@dataclass(frozen=True, slots=True)
class MergedTokens:
    """What is left of the tokens [T, d] of some images, and int64 `stands_for` [T]: the row there of every token."""

    tokens: PackedTokens
    stands_for: Tensor

    def restored(self, values: Tensor) -> Tensor:
        """Give every token the row of the one that stands for it: [rows, d] to [T, d]."""
        return values.index_select(0, self.stands_for)


@dataclass(frozen=True, slots=True)
class TokenMerging:
    """Merges away the share `ratio`, 0..0.75, of each image's tokens, rounded to a whole number.

    Where a side of the grid is odd, a little less than three quarters of the tokens can be merged; then those are.
    """

    ratio: float

    def __call__(self, tokens: PackedTokens) -> MergedTokens:
        """Merge the tokens of every image by itself. Raises ValueError for tokens that lie on no grid."""
        if len(tokens.grids) != len(tokens.lengths):
            raise ValueError("only tokens that lie on a grid can be merged")
        values = torch.split(tokens.values, list(tokens.lengths))
        positions = torch.split(tokens.positions, list(tokens.lengths))
        images, rows, first = [], [], 0
        for own_values, own_positions, grid in zip(values, positions, tokens.grids, strict=True):
            groups = self.groups(own_values, grid)
            sizes = groups.sizes()
            images.append((groups.means(own_values, sizes), groups.means(own_positions, sizes), sizes))
            rows.append(groups.stands_for + first)
            first += len(groups.places)
        merged_values, merged_positions, sizes = (torch.cat(part) for part in zip(*images, strict=True))
        lengths = tuple(len(own) for own, *_ in images)
        return MergedTokens(PackedTokens(merged_values, merged_positions, lengths, sizes=sizes), torch.cat(rows))

    @torch.no_grad()
    def groups(self, values: Tensor, grid: tuple[int, int]) -> Groups:
        """Decide which tokens are merged, from values [N, d] that lie row by row on a grid of (rows, columns)."""
        sources, targets = (on_device(torch.from_numpy(x), values.device) for x in _sources_and_targets(*grid))
        directions = normalize(at_least_float32(values), dim=-1)
        similarity = (directions[sources] * directions[targets]).sum(-1)
        order = _argsort(similarity, descending=True)[: self.merged_away(*grid)]
        merged, into = sources[order], targets[order]
        place = torch.arange(len(values), device=values.device)
        gone = torch.zeros_like(place).index_fill(0, merged, 1)
        places = _argsort(place + len(place) * gone)[: len(place) - len(order)]  # rising, and waits for no device
        row = torch.cumsum(1 - gone, 0) - 1
        return Groups(grid, gone, places, row.index_copy(0, merged, row[into]))

    def merged_away(self, rows: int, columns: int) -> int:
        """How many tokens of a grid are merged into others."""
        sources = rows * columns - -(-rows // 2) * -(-columns // 2)
        return min(round(self.ratio * rows * columns), sources)


@dataclass(frozen=True, slots=True)
class Groups:
    """The tokens of one image, N on a grid of (rows, columns), in M groups.

    `gone` int64 [N] is 1 for those that are merged into another, else 0; `places` int64 [M] are the others, rising;
    `stands_for` int64 [N] is the group of every token.
    """

    grid: tuple[int, int]
    gone: Tensor
    places: Tensor
    stands_for: Tensor

    def sizes(self) -> Tensor:
        """How many tokens each group has: float32 [M]."""
        return self._sums(self.gone.new_ones(len(self.gone), 1, dtype=torch.float32)).squeeze(-1)

    def means(self, x: Tensor, sizes: Tensor) -> Tensor:
        """Mean of each group of these sizes: [N, d] to [M, d]. In a fixed order, so that it is the same every time."""
        return self._sums(x) / sizes[:, None].to(x.dtype)

    def _sums(self, x: Tensor) -> Tensor:
        rows, columns = self.grid
        merged = (x * self.gone[:, None].to(x.dtype)).view(rows, columns, -1)
        even = pad(merged, (0, 0, 0, columns % 2, 0, rows % 2))
        in_cells = even.view(even.shape[0] // 2, 2, even.shape[1] // 2, 2, -1).sum((1, 3)).flatten(0, 1)
        targets = self.stands_for.view(rows, columns)[::2, ::2].flatten()
        left = x[self.places]
        return left.index_copy(0, targets, left[targets] + in_cells)


def matching_multiply_adds(tokens: int, dim: int) -> int:
    """Multiply-adds of comparing the tokens [N, d] of an image with their targets, on a grid of even sides."""
    return 3 * tokens // 4 * dim


def _argsort(x: Tensor, descending: bool = False) -> Tensor:
    """Order of x [n], equal ones as they are; graphs of other engines have no operator that says how they come."""
    stable = not torch.compiler.is_exporting()
    return x.argsort(descending=descending, stable=True) if stable else x.argsort(descending=descending)


@lru_cache(maxsize=256)
def _sources_and_targets(rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the tokens that may be merged, and of each one's target: [S]."""
    place = np.arange(rows * columns).reshape(rows, columns)
    target = place[::2, ::2].repeat(2, 0).repeat(2, 1)[:rows, :columns]
    is_source = place != target
    return place[is_source], target[is_source]
