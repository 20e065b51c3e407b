"""The forms in which masks are given to others."""

from __future__ import annotations

from typing import Literal

from models.masks.masks import Masks
from models.masks.polygons import polygons
from models.masks.runs import Runs, encoded_runs

MaskForm = Literal["rle", "polygons"]
Segmentation = Runs | list[list[float]]
"""What COCO calls so: runs, or polygons."""


def segmentations(masks: Masks, form: MaskForm) -> list[Segmentation]:
    """Every mask in one form; large masks of many detections take seconds."""
    encode = encoded_runs if form == "rle" else polygons
    return [encode(masks.cut(index)) for index in range(len(masks))]
