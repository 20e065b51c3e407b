"""Masks as runs: COCO's compressed run-length encoding, as pycocotools reads and writes it."""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from models.masks.masks import Cut

BITS: Final = 5
"""Bits of a number that one character carries; a sixth says that more follow, the lowest first."""
FIRST: Final = ord("0")


class Runs(TypedDict):
    """`size` is [height, width], `counts` the lengths of runs, compressed."""

    size: list[int]
    counts: str


def encoded_runs(mask: Cut) -> Runs:
    """A mask as COCO's RLE."""
    return {"size": [mask.height, mask.width], "counts": compressed(run_lengths(mask))}


def run_lengths(mask: Cut) -> NDArray[np.int64]:
    """Lengths of the runs of pixels outside and inside the mask by turns, column after column from the left.

    The first run is outside, and may be empty; no other is. All of them fill the image.
    """
    bordered = np.pad(mask.bitmap, ((1, 1), (0, 0)))
    row, column = np.divmod(np.flatnonzero(bordered[1:] != bordered[:-1]), max(1, bordered.shape[1]))
    order = np.lexsort((row, column))  # by turns where a column's runs begin and where they end
    bounds = (mask.left + column[order]) * mask.height + mask.top + row[order]
    goes_on = np.flatnonzero(bounds[1:-1:2] == bounds[2::2]) * 2 + 1  # from the end of a column to the next one's top
    bounds = np.delete(bounds, np.concatenate((goes_on, goes_on + 1)))
    lengths = np.diff(bounds, prepend=0, append=mask.height * mask.width)
    return lengths[:-1] if lengths[-1] == 0 else lengths


def compressed(lengths: NDArray[np.int64]) -> str:
    """COCO's string for lengths of runs: from the fourth on, what is written is the difference from the one two before.

    Characters from '0' on carry `BITS` bits of a number each; the highest bit of the last is the sign.
    """
    numbers = lengths.copy()
    numbers[3:] -= lengths[1:-2]
    characters, written = [], []
    open_ = np.ones(len(numbers), bool)
    while open_.any():
        bits = numbers & (1 << BITS) - 1
        numbers = numbers >> BITS
        negative = (bits >> BITS - 1).astype(bool)
        goes_on = numbers != np.where(negative, -1, 0)
        characters.append(FIRST + bits + (goes_on << BITS))
        written.append(open_)
        open_ = open_ & goes_on
    codes = np.stack(characters, 1)[np.stack(written, 1)]
    return bytes(codes.tolist()).decode("ascii")
