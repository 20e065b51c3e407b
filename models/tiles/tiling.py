"""How an image is cut into tiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.config import DetrConfig

Tiles = tuple[int, int] | Literal["auto"]
"""Rows and columns; or `auto`, which is `Tiling.automatic`."""

OVERLAP: Final = 0.25
"""Share of a tile's side that its neighbour sees too."""
MAX_REDUCTION: Final = 16
"""Pixels of the image per pixel that the model sees, on either axis: where they are more, `auto` makes more tiles."""
MAX_TILES: Final = 32
"""Most tiles that `auto` makes, unless told otherwise."""

_GRID: Final = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")


def parse_tiles(text: str) -> Tiles:
    """Read `auto` or `ROWSxCOLUMNS`. Raises ValueError."""
    if text == "auto":
        return "auto"
    grid = _GRID.fullmatch(text)
    if grid is None:
        raise ValueError(f"tiles are auto or ROWSxCOLUMNS, such as 2x3, not {text[:100]!r}")
    return int(grid[1]), int(grid[2])


@dataclass(frozen=True, slots=True)
class Tiling:
    """`rows` x `columns` tiles of one size that cover an image of `height` x `width` pixels; neighbours overlap."""

    height: int
    width: int
    rows: int = 1
    columns: int = 1

    @classmethod
    def of(cls, height: int, width: int, tiles: Tiles | None, config: DetrConfig, most: int = MAX_TILES) -> Tiling:
        """Return the tiling that was asked for, at most a row or column per pixel; None is one tile.

        `auto` is made for a model's configuration, and of `most` tiles at most.
        """
        if tiles == "auto":
            return cls.automatic(height, width, config, most)
        rows, columns = tiles or (1, 1)
        return cls(height, width, min(rows, height), min(columns, width))

    @classmethod
    def automatic(cls, height: int, width: int, config: DetrConfig, most: int = MAX_TILES) -> Tiling:
        """Return as few tiles as make none longer than the model's images, or reduced more than MAX_REDUCTION times.

        Where `most` tiles are too few for that: those that are reduced least.
        """
        grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
        return min((cls.of(height, width, grid, config) for grid in grids), key=lambda tiling: tiling._cost(config))

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def tile_size(self) -> tuple[int, int]:
        """(height, width) of every tile in pixels."""
        return _side(self.height, self.rows), _side(self.width, self.columns)

    @property
    def boxes_xyxy(self) -> NDArray[np.int64]:
        """The tiles [n, 4] in pixels of the image, row by row."""
        height, width = self.tile_size
        tops, lefts = _starts(self.height, height, self.rows), _starts(self.width, width, self.columns)
        return np.array([(left, top, left + width, top + height) for top in tops for left in lefts], np.int64)

    def cut(self, image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Yield the tiles of an image [height, width, 3], row by row, without copying its pixels."""
        for xmin, ymin, xmax, ymax in self.boxes_xyxy.tolist():
            yield image[ymin:ymax, xmin:xmax]

    def _cost(self, config: DetrConfig) -> tuple[bool, float, int, float]:
        """What `automatic` minimises: whether tiles are too large, then how much; their number, then their length."""
        short, long = sorted(self.tile_size)
        reduction = max(short / config.shortest_side, long / config.longest_side)
        too_long = long * config.shortest_side > short * config.longest_side
        too_large = too_long or reduction > MAX_REDUCTION
        return too_large, reduction if too_large else 0.0, len(self), long / short


def _side(length: int, count: int) -> int:
    """Side of each of `count` tiles along `length` pixels."""
    return -int(-length // (count - (count - 1) * OVERLAP))


def _starts(length: int, side: int, count: int) -> list[int]:
    """First pixels of `count` tiles along an axis, evenly from 0 to `length` - `side`."""
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]
