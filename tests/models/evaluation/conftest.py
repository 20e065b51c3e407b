"""Ground truth from lists of boxes, and a tiny detector with pages to run on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.data.coco import GroundTruth
from models.data.samples import PageSamples
from models.detector import Detector
from models.detr.detr import Detr

Box = tuple[float, ...]


@pytest.fixture
def labelled() -> Callable[..., GroundTruth]:
    """Return a function ((box_xyxy, label), ..., crowd=, areas=) that returns ground truth."""

    def make(*rows: tuple[Box, str], **more: np.ndarray) -> GroundTruth:
        boxes = np.array([box for box, _ in rows], np.float64).reshape(-1, 4)
        return GroundTruth(boxes, tuple(label for _, label in rows), **more)

    return make


@pytest.fixture
def detector(tiny_detr: Detr) -> Detector:
    return Detector(tiny_detr)


@pytest.fixture
def pages() -> PageSamples:
    return PageSamples(2, 128, 96)
