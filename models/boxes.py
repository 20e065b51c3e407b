"""Box formats: the format is in every name. Conversions of float [..., 4] tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Centre and size [..., 4] to corners [..., 4] (xmin, ymin, xmax, ymax), in the same unit."""
    cx, cy, w, h = boxes_cxcywh.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), -1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Corners [..., 4] to centre and size [..., 4], in the same unit."""
    xmin, ymin, xmax, ymax = boxes_xyxy.unbind(-1)
    return torch.stack(((xmin + xmax) / 2, (ymin + ymax) / 2, xmax - xmin, ymax - ymin), -1)


def scale_to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes [..., 4] in either format, relative to an image (0..1), to its pixels."""
    # Numbers, not a tensor of them: a GPU would wait for its copy.
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1 * width, y1 * height, x2 * width, y2 * height), -1)


def scale_from_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes [..., 4] in either format, in an image's pixels, relative to it (0..1)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1 / width, y1 / height, x2 / width, y2 / height), -1)
