"""Masks of one image's detections, brought to the image's size one by one, when somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

BELONGS: Final = 0.5
"""Probability above which a pixel belongs to an object."""

ROWS: Final = 32
"""Rows of a mask that are interpolated at a time."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a mask outside of which it is empty.

    `bitmap` bool [h, w] has its first pixel in row `top` and column `left` of an image of `height` x `width` pixels. It
    has no rows and columns where the whole mask is empty.
    """

    bitmap: NDArray[np.bool_]
    top: int
    left: int
    height: int
    width: int

    def whole(self) -> NDArray[np.bool_]:
        """The mask, bool [height, width]."""
        mask = np.zeros((self.height, self.width), bool)
        rows, columns = self.bitmap.shape
        mask[self.top : self.top + rows, self.left : self.left + columns] = self.bitmap
        return mask


@dataclass(frozen=True, slots=True)
class Masks:
    """A mask for each of n detections, as the mask head gave them.

    `probabilities` float32 [n, rows, columns] in 0..1, of cells that show the image of `height` x `width` pixels, and
    the padding right of it and below. `shown` are the rows and columns, whole or not, that show the image.
    """

    probabilities: NDArray[np.float32]
    shown: tuple[float, float]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        """The mask of one detection, bool [height, width] in pixels of the original image: see `cut`."""
        return self.cut(index).whole()

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[index] for index in range(len(self)))

    def at(self, rows: NDArray[np.int64]) -> Masks:
        """Those of some of the detections."""
        return replace(self, probabilities=self.probabilities[rows])

    def cut(self, index: int) -> Cut:
        """The part of a mask that is not empty: pixels of more than `BELONGS`, by bilinear interpolation of cells.

        The interpolation is torch's and transformers', with `align_corners=False`.
        """
        cells = self.probabilities[index]
        rows, columns = (np.flatnonzero((cells > BELONGS).any(axis)) for axis in (1, 0))
        if not len(rows):
            return Cut(np.zeros((0, 0), bool), 0, 0, self.height, self.width)
        down = _Axis.of(self.height, self.shown[0], cells.shape[0]).around(rows[0], rows[-1])
        right = _Axis.of(self.width, self.shown[1], cells.shape[1]).around(columns[0], columns[-1])
        wide = np.ascontiguousarray(right.interpolated(cells.T).T)
        blocks = [block.interpolated(wide) > BELONGS for block in down.blocks()]
        return Cut(np.concatenate(blocks), down.start, right.start, self.height, self.width)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Pixels from `start` on, each between two cells: `low` and `high` int64 [n], and the `share` of high, float32."""

    start: int
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, pixels: int, shown: float, cells: int) -> _Axis:
        """All pixels of an axis that so many of its cells show."""
        centres = ((np.arange(pixels) + 0.5) * (shown / pixels) - 0.5).clip(0)
        low = centres.astype(np.int64).clip(max=cells - 1)
        return cls(0, low, (low + 1).clip(max=cells - 1), (centres - low).astype(np.float32))

    def around(self, first: int, last: int) -> _Axis:
        """The pixels between whose cells is one from `first` to `last`."""
        start = int(np.searchsorted(self.high, first))
        end = int(np.searchsorted(self.low, last, "right"))
        return _Axis(start, self.low[start:end], self.high[start:end], self.share[start:end])

    def blocks(self) -> Iterator[_Axis]:
        """Some pixels at a time, so that memory is needed for a few rows of numbers only."""
        for start in range(0, len(self.low), ROWS):
            part = slice(start, start + ROWS)
            yield _Axis(self.start + start, self.low[part], self.high[part], self.share[part])

    def interpolated(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values [n, ...] from those of cells [cells, ...]."""
        share = self.share[:, None]
        values: NDArray[np.float32] = cells[self.low] * (1 - share) + cells[self.high] * share
        return values
