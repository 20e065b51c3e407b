"""The numbers of encoder tokens that a model makes of images."""

from __future__ import annotations

from typing import Final

from models.config import DetrConfig
from models.detr.canvas import token_grid
from models.preprocess import resized_for

_LARGE: Final = 10_000
_SHAPES: Final = tuple(2 ** (quarter / 4) for quarter in range(33))
"""Longer side by shorter side, from squares to strips."""
_STEPS: Final = 4
_STEP: Final = 0.7


def token_range(config: DetrConfig) -> tuple[int, int]:
    """Return the least and the largest number of tokens of images up to strips of 256 to 1, of any size.

    Images may be resized to any of the model's `sides`.
    """
    shapes = (*_SHAPES, config.longest_side / config.shortest_side)
    sizes = [(round(scale * shape), scale) for shape in shapes for scale in (1, round(_LARGE / shape))]
    upright_and_turned = (*sizes, *((w, h) for h, w in sizes))
    configs = [config.resized_to(side) for side in config.sides]
    grids = [token_grid(*resized_for(one, *size), one) for one in configs for size in upright_and_turned]
    counts = [rows * columns for rows, columns in grids]
    return min(counts), max(counts)


def spread_counts(least: int, largest: int) -> tuple[int, ...]:
    """Return token counts to measure at, rising: the two, and some near the largest, where time is spent."""
    below = (round(largest * _STEP**step) for step in range(_STEPS))
    return tuple(sorted({least, *(tokens for tokens in below if tokens > least)}))
