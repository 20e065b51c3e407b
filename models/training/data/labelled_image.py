"""An image and its labelled boxes, which are changed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, Image

from models.boxes import xyxy_to_cxcywh
from models.training.objective.matcher import Target


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """`pixels` uint8 RGB [3, h, w]; `boxes_xyxy` float32 [n, 4] in pixels, inside it; `labels` int64 [n]."""

    pixels: Tensor
    boxes_xyxy: Tensor
    labels: Tensor

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[2]

    def changed(self, change: Callable[[Any], Any]) -> LabelledImage:
        """Do with pixels and boxes what a function of torchvision.transforms.v2.functional does with either.

        Boxes are clipped to the new image; those that have no area left are dropped with their labels.
        """
        size = (self.height, self.width)
        boxes = change(BoundingBoxes(self.boxes_xyxy, format="XYXY", canvas_size=size)).as_subclass(torch.Tensor)
        pixels = change(Image(self.pixels)).as_subclass(torch.Tensor)
        boxes, kept = clipped(boxes, pixels.shape[1], pixels.shape[2])
        return LabelledImage(pixels, boxes, self.labels[kept])

    def target(self) -> Target:
        """The target of the losses: boxes relative to the image."""
        size = self.boxes_xyxy.new_tensor((self.width, self.height, self.width, self.height))
        return Target(self.labels, xyxy_to_cxcywh(self.boxes_xyxy / size))


def clipped(boxes_xyxy: Tensor, height: Tensor | int, width: Tensor | int) -> tuple[Tensor, Tensor]:
    """Clip float boxes [n, 4] to an image, or each to its own: then height and width are [n].

    Returns those with an area left, and bool [n]: which they are.
    """
    sides = [torch.as_tensor(side).to(boxes_xyxy) for side in (width, height, width, height)]
    limits = torch.stack(sides, -1)
    boxes = torch.minimum(boxes_xyxy.clamp(min=0), limits)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return boxes[kept], kept
