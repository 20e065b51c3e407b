"""A detector without its box refinement: what the DETR itself says, to see what the refinement brings."""

from __future__ import annotations

import copy
from dataclasses import replace

from models.detector import Detector


def plain_boxes(detector: Detector) -> Detector:
    """The same detector and weights without box refinement. Raises ValueError where it has none."""
    if detector.config.box_refinement is None:
        raise ValueError(f"{detector.name} has no box refinement to leave out")
    plain = copy.copy(detector)
    plain.config = replace(detector.config, box_refinement=None)
    plain._detr = copy.deepcopy(detector._detr)
    plain._detr.config = plain.config
    plain._detr.box_refinement = None
    return plain
