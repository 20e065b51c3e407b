"""What an exported model computes, against ours, on a generated page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention_config import AttentionConfig
from models.boxes import cxcywh_to_xyxy
from models.data.pages import render_page
from models.detections import Detections
from models.detector import Detector
from models.export.engines import Arrays
from models.export.errors import ExportDiffers
from models.preprocess import PreparedImage

PAGE: Final = 2_000_000_029
"""Seed of the page."""
EXACT_BOUND: Final = 1e-3
CLUSTERED_BOUND: Final = 2e-2
"""Rounding can move a query that lies between two clusters from one to the other; its value then jumps."""
MIN_SCORE, MIN_BOXES = 0.05, 10
"""Boxes of a score from here on are compared, and never fewer than so many, the best: others show in no detection."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Our results for one page: `image` uint8 [h, w, 3]; probabilities [Q, classes]; boxes_xyxy [Q, 4] in 0..1."""

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """Largest differences from ours: of `scores`, in 0..1, and of `boxes`, in shares of the image; and their bound."""

    scores: float
    boxes: float
    bound: float

    def check(self, what: str) -> None:
        """Raise ExportDiffers where one is larger than the bound, or no number."""
        if not max(self.scores, self.boxes) <= self.bound:
            raise ExportDiffers(
                f"{what} computes something else than act-detr: scores differ by {self.scores:.2g} and boxes by "
                f"{self.boxes:.2g} of the image, where {self.bound:g} is allowed; nothing was written"
            )


def reference(detector: Detector, attention: AttentionConfig, height: int, width: int) -> Reference:
    """Run our detector on the page in this size, as it serves requests."""
    image = drawn_page(height, width)
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    output = detector.outputs([PreparedImage(pixels, height, width)], attention)
    probabilities = output.logits[0].float().softmax(-1)[:, :-1]
    boxes = cxcywh_to_xyxy(output.boxes_cxcywh[0].float()).clamp(0, 1)
    return Reference(image, probabilities.numpy(), boxes.numpy(), detector.config.labels)


def drawn_page(height: int, width: int) -> NDArray[np.uint8]:
    """Draw the page that exports are checked on: uint8 RGB [height, width, 3]."""
    return np.array(render_page(PAGE, height, width).image)


def bound(attention: AttentionConfig) -> float:
    """Differences that are allowed."""
    return EXACT_BOUND if attention.mode == "exact" else CLUSTERED_BOUND


def differences(ours: Reference, theirs: Arrays, allowed: float) -> Differences:
    """Compare a graph's `boxes`, `scores` and `labels` of one image with ours, query by query.

    Classes may differ where they are equally probable: a score is compared with ours of the same class, and with our
    best.
    """
    boxes, scores, labels = (theirs[name][0] for name in ("boxes", "scores", "labels"))
    best = ours.probabilities.max(-1)
    of_class = np.take_along_axis(ours.probabilities, labels[:, None], -1)[:, 0]
    by_score = np.maximum(np.abs(scores - best), np.abs(scores - of_class))
    compared = best >= min(MIN_SCORE, np.sort(best)[-min(MIN_BOXES, len(best))])
    by_box = np.abs(boxes - ours.boxes_xyxy)[compared]
    return Differences(float(by_score.max()), float(by_box.max()), allowed)


def check_suppression(ours: Reference, theirs: Arrays, nms: float | None, what: str) -> None:
    """Raise ExportDiffers where `keep` is not what our non-maximum suppression keeps of the same boxes."""
    boxes, scores, classes, keep = (theirs[name][0] for name in ("boxes", "scores", "labels", "keep"))
    order = np.argsort(-scores, kind="stable")
    named = [row for row in order if ours.labels[classes[row]] is not None]
    every = Detections(boxes[named], scores[named], tuple(str(classes[row]) for row in named))
    expected, kept = every.select(nms=nms), [row for row in order if keep[row]]
    if not _equal(expected.boxes_xyxy, boxes[kept]) or not _equal(expected.scores, scores[kept]):
        raise ExportDiffers(f"{what} keeps {len(kept)} boxes where act-detr keeps {len(expected)}; nothing was written")


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.array_equal(a, b))
