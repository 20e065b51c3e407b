"""Detections in pixels, read off the model's raw outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from models.boxes import cxcywh_to_xyxy, scale_to_pixels
from models.detections import Detections
from models.preprocess import PreparedImage


def read_detections(
    logits: Tensor, boxes_cxcywh: Tensor, image: PreparedImage, labels: tuple[str | None, ...]
) -> Detections:
    """Every query's best class of one image, best first: logits [Q, classes + 1], boxes [Q, 4] in 0..1.

    Queries whose best class is an id that the data set does not use are left out. Equal scores keep the order of
    the queries.
    """
    scores, classes = logits.float().softmax(-1)[:, :-1].max(-1)
    scores, order = torch.sort(scores, descending=True, stable=True)
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()[order])
    height, width = image.original_height, image.original_width
    boxes = scale_to_pixels(boxes, height, width).clamp(min=0)
    boxes = torch.minimum(boxes, boxes.new_tensor((width, height, width, height)))
    names = [labels[index] for index in classes[order].tolist()]
    used = torch.tensor([name is not None for name in names])
    return Detections(
        boxes[used].cpu().numpy(),
        scores[used].cpu().numpy(),
        tuple(name for name in names if name is not None),
    )
