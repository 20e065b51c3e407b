"""Images on a canvas of fixed size, for models that were trained so.

transformers can be told to pad every image to one size. Its backbone then sees the padding, so that it matters to
tokens near it; padded tokens are masked in attention, so that leaving them out is the same; positions are normalised to
the image, and boxes to the canvas. Nothing of this depends on what else is in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from models.config import DetrConfig


def canvas_size(height: int, width: int, config: DetrConfig) -> tuple[int, int]:
    """(height, width) that the backbone sees of a resized image: the model's canvas, if any, and never less than it."""
    rows, columns = (config.resizing and config.resizing.canvas) or (0, 0)
    return max(height, rows), max(width, columns)


def on_canvas(images: Tensor, config: DetrConfig) -> Tensor:
    """Normalised images [b, 3, h, w] in the upper left corner of their canvas; as they are without one."""
    height, width = images.shape[-2:]
    rows, columns = canvas_size(height, width, config)
    return pad(images, (0, columns - width, 0, rows - height)) if (rows, columns) != (height, width) else images


def token_grid(height: int, width: int, config: DetrConfig) -> tuple[int, int]:
    """Rows and columns of tokens that show a resized image: all, or those of the canvas that are not padding."""
    rows, columns = canvas_size(height, width, config)
    stride = config.backbone.stride
    return shown_cells(height, rows, -(-rows // stride)), shown_cells(width, columns, -(-columns // stride))


def canvas_shares(sizes: Sequence[tuple[int, int]], config: DetrConfig) -> Tensor | None:
    """Canvas by image, float32 [B, 1, 4] (x, y, x, y): what makes boxes relative to the canvas relative to the image.

    `sizes` are (height, width) of B resized images; None where no image is smaller than its canvas.
    """
    canvases = [canvas_size(height, width, config) for height, width in sizes]
    if canvases == list(sizes):
        return None
    shares = [(columns / w, rows / h) * 2 for (rows, columns), (h, w) in zip(canvases, sizes, strict=True)]
    return torch.tensor(shares)[:, None]


@lru_cache(maxsize=4096)
def shown_cells(length: int, canvas: int, cells: int) -> int:
    """How many of an axis's `cells` show the first `length` of `canvas` pixels, by the mask's nearest pixel as in DETR.

    The others are padding.
    """
    if length == canvas:
        return cells
    mask = (torch.arange(canvas) < length).float()
    return int(interpolate(mask[None, None], size=cells).sum())
