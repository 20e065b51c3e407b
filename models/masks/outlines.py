"""The rings around a mask's connected parts and their holes, traced along the edges of pixels.

Only what is of the length of the outlines runs in Python, so that large masks take milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
"""Points [n, 2] (x, y) in pixels; the last is joined to the first."""

STEPS: Final = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""(x, y) from where an edge begins to where it ends: a pixel's top, right, bottom or left, inside on the right."""
BEGINS: Final = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
"""(x, y) of where the edges of a pixel begin, from its upper left corner."""
RIGHT, LEFT = 1, 3


@dataclass(frozen=True, slots=True)
class _Edges:
    """Edges between pixels inside a mask and outside: of the `pixels` int64 [n, 2] (x, y) inside, in a `direction` [n].

    A direction is an index of `STEPS`.
    """

    pixels: NDArray[np.int64]
    direction: NDArray[np.int64]

    @classmethod
    def of(cls, bitmap: NDArray[np.bool_]) -> _Edges:
        """All edges of a mask, outside of which there is nothing."""
        bordered = np.pad(bitmap, 1)
        above, below = bordered[:-2, 1:-1], bordered[2:, 1:-1]
        before, after = bordered[1:-1, :-2], bordered[1:-1, 2:]
        found = [np.flatnonzero(bitmap > beside) for beside in (above, after, below, before)]
        y, x = np.divmod(np.concatenate(found), bitmap.shape[1])
        return cls(np.stack((x, y), 1), np.repeat(np.arange(4), [len(one) for one in found]))

    def following(self) -> NDArray[np.int64]:
        """The edge that each is followed by, int64 [n]. Where two pixels touch at a corner only, each keeps to itself.

        So parts of a mask are connected by edges, and holes by corners as well.
        """
        begins = self.pixels + BEGINS[self.direction]
        ends = begins + STEPS[self.direction]
        width = int(ends[:, 0].max()) + 1
        codes, sought = (points[:, 1] * width + points[:, 0] for points in (begins, ends))
        order = np.argsort(codes)
        first, last = (np.searchsorted(codes[order], sought, side) for side in ("left", "right"))
        one, other = order[first], order[last - 1]
        following: NDArray[np.int64] = np.where(self.direction[one] == (self.direction + 1) % 4, one, other)
        return following

    def middles(self, edges: NDArray[np.int64]) -> Ring:
        """Points halfway along edges."""
        points: Ring = self.pixels[edges] + BEGINS[self.direction[edges]] + STEPS[self.direction[edges]] / 2
        return points


def outlines(bitmap: NDArray[np.bool_]) -> list[list[Ring]]:
    """The rings of each part of a mask [h, w] whose pixels are connected by edges: its outline, then its holes.

    A ring goes through the middles of edges, so that it cuts corners, and holds the centres of the pixels within and no
    others. The left edge of the first column is x = 0.
    """
    if not bitmap.any():
        return []
    edges = _Edges.of(bitmap)
    rings = _cycles(edges.following())
    parts: dict[int, list[Ring]] = {}
    for ring, part in enumerate(_parts(edges, rings)):
        parts.setdefault(part, []).insert(0 if ring == part else 1, _corners(edges.middles(rings[ring])))
    return list(parts.values())


def _cycles(following: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The cycles of a permutation, each as the indices that it goes through."""
    after = following.tolist()
    left = bytearray(b"\x01") * len(after)
    cycles = []
    for start in range(len(after)):
        cycle, at = [], start
        while left[at]:
            left[at] = 0
            cycle.append(at)
            at = after[at]
        if cycle:
            cycles.append(np.array(cycle))
    return cycles


def _parts(edges: _Edges, rings: list[NDArray[np.int64]]) -> list[int]:
    """Index of the outline of the part that each ring belongs to: of itself, where it is one.

    The leftmost edge of a ring is a left one of an outline, and a right one of a hole. On the left of a hole, a row of
    pixels inside leads to a left edge of the same part: of its outline, or of a hole that begins further to the left.
    """
    ring_of = np.empty(len(edges.direction), np.int64)
    for index, ring in enumerate(rings):
        ring_of[ring] = index
    columns = edges.pixels[:, 0] + (edges.direction == RIGHT)
    upright = [ring[edges.direction[ring] % 2 == 1] for ring in rings]
    leftmost = np.array([ring[columns[ring].argmin()] for ring in upright])
    width = int(edges.pixels[:, 0].max()) + 1
    codes = edges.pixels[:, 1] * width + edges.pixels[:, 0]
    lefts = np.flatnonzero(edges.direction == LEFT)
    lefts = lefts[np.argsort(codes[lefts])]
    beside = ring_of[lefts[np.searchsorted(codes[lefts], codes[leftmost], "right") - 1]]
    parts = list(range(len(rings)))
    for ring in np.argsort(columns[leftmost], kind="stable").tolist():
        if edges.direction[leftmost[ring]] == RIGHT:
            parts[ring] = parts[int(beside[ring])]
    return parts


def _corners(ring: Ring) -> Ring:
    """A ring without its points that lie on a line between their neighbours."""
    before, after = ring - np.roll(ring, 1, 0), np.roll(ring, -1, 0) - ring
    corners: Ring = ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return corners
