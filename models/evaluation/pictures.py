"""Pictures of images with boxes drawn in, laid out on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.utils import draw_bounding_boxes

CELL: Final = 480
"""Longest side of one image on a sheet, in pixels."""
COLOURS: Final = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#008080")


def class_colours(labels: Sequence[str], known: Sequence[str]) -> list[str]:
    """A colour for each label, the same for the same class; black for one that is not known."""
    return [COLOURS[known.index(label) % len(COLOURS)] if label in known else "black" for label in labels]


def drawn(
    image: NDArray[np.uint8], boxes_xyxy: NDArray[Any], texts: Sequence[str], colours: Sequence[str]
) -> NDArray[np.uint8]:
    """A copy of uint8 RGB [H, W, 3] with a box, a text and a colour each; boxes in pixels."""
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
    if len(texts):
        boxes = torch.as_tensor(np.asarray(boxes_xyxy), dtype=torch.float32)
        width = max(1, round(max(image.shape[:2]) / 300))
        pixels = draw_bounding_boxes(pixels, boxes, list(texts), list(colours), width=width)
    return pixels.numpy().transpose(1, 2, 0)


def side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Image.Image:
    """Two pictures of one size beside each other, reduced to a cell of a sheet."""
    pair = Image.fromarray(np.ascontiguousarray(np.concatenate((left, right), axis=1)))
    pair.thumbnail((2 * CELL, CELL))
    return pair


def tiled(cells: Sequence[Image.Image], columns: int = 2, gap: int = 8) -> Image.Image:
    """Pictures row by row on a white sheet, one at least; pixels of `gap` between them."""
    width, height = (max(cell.size[axis] for cell in cells) + gap for axis in (0, 1))
    columns = min(columns, len(cells))
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), "white")
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % columns * width, index // columns * height))
    return sheet
