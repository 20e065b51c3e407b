"""Sine position encoding of a feature map (DETR, appendix A.4), normalised to its extent."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

TEMPERATURE = 10000.0
EPSILON = 1e-6


@lru_cache(maxsize=64)
def sine_positions(height: int, width: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Position encoding [height * width, dim], row by row; the first half of dim encodes y, the second x.

    Cached for the latest sizes: do not write to it.
    """
    y = _axis(height, dim // 2)
    x = _axis(width, dim // 2)
    grid = torch.cat((y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)), -1)
    return grid.flatten(0, 1).to(device=device, dtype=dtype)


def _axis(length: int, dim: int) -> Tensor:
    """Interleaved sines and cosines [length, dim] of the positions 1..length, normalised to 2 pi."""
    position = torch.arange(1, length + 1, dtype=torch.float32) / (length + EPSILON) * (2 * math.pi)
    frequency = TEMPERATURE ** (2 * (torch.arange(dim) // 2).float() / dim)
    angle = position[:, None] / frequency
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), -1).flatten(1)
