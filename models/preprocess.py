"""Resizing and normalisation of decoded images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.config import DetrConfig


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image resized for one model: `pixels` uint8 [3, h, w], not yet normalised; and its first size.

    `canvas` (height, width) is what the model pads it to, if anything.
    """

    pixels: Tensor
    original_height: int
    original_width: int
    canvas: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Rows that the backbone sees: after resizing, or of the canvas."""
        return self.canvas[0] if self.canvas else self.pixels.shape[1]

    @property
    def width(self) -> int:
        """Columns that the backbone sees: after resizing, or of the canvas."""
        return self.canvas[1] if self.canvas else self.pixels.shape[2]


def prepare(image: NDArray[np.uint8], config: DetrConfig, pinned: bool = False) -> PreparedImage:
    """Resize uint8 RGB [H, W, 3] as the model was trained: bilinear with antialias, to `resized_for` it.

    Pillow does it, as in the published code: one thread, with the interpreter's lock released. `pinned` puts the
    pixels where a GPU copies them from without stopping this program. Raises ValueError for any other shape or dtype.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected a uint8 image [H, W, 3], not {image.dtype} {list(image.shape)}")
    height, width = image.shape[:2]
    new_height, new_width = resized_for(config, height, width)
    if (new_height, new_width) != (height, width):
        pillow = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
        image = np.asarray(pillow)
    pixels = torch.empty((3, new_height, new_width), dtype=torch.uint8, pin_memory=pinned)
    np.copyto(pixels.numpy(), image.transpose(2, 0, 1))  # in NumPy: torch would use a pool of threads
    return PreparedImage(pixels, height, width, config.resizing.canvas if config.resizing else None)


def resized_for(config: DetrConfig, height: int, width: int) -> tuple[int, int]:
    """(height, width) to which a model wants an image brought."""
    rule = config.resizing.resized if config.resizing else resized
    return rule(height, width, config.shortest_side, config.longest_side)


def resized(height: int, width: int, shortest_side: int, longest_side: int) -> tuple[int, int]:
    """(height, width) with the shortest side at `shortest_side`, unless the longest would pass `longest_side`.

    Rounds as the published code does. Never below one pixel.
    """
    short, long = min(height, width), max(height, width)
    if long / short * shortest_side > longest_side:
        shortest_side = round(longest_side * short / long)
    shortest_side = max(1, shortest_side)
    if short == shortest_side and long <= longest_side:
        return height, width
    longest = max(shortest_side, min(longest_side, int(shortest_side * long / short)))
    return (shortest_side, longest) if height < width else (longest, shortest_side)


def normalise(pixels: Tensor, config: DetrConfig) -> Tensor:
    """uint8 [..., 3, h, w] to float32 of the same shape: RGB in 0..1, less the mean, over the standard deviation."""
    mean, std = (_by_channel(tuple(x), pixels.device) for x in (config.mean, config.std))
    return (pixels.float() / 255 - mean) / std


@lru_cache(maxsize=16)
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Float32 [3, 1, 1], copied to the device once."""
    return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
