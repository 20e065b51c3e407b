"""What a detector says of one image, and what it cost to say it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from models.config import AttentionConfig


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects of one image, best first.

    `boxes_xyxy` float32 [n, 4]: xmin, ymin, xmax, ymax in pixels of the original image, inside it;
    `scores` float32 [n] in 0..1, falling; `labels` n class names.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, float, float, float]]]:
        """Yield (label, score, (xmin, ymin, xmax, ymax)) of each, best first."""
        for label, score, box in zip(self.labels, self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True):
            yield label, score, tuple(box)

    def select(
        self, threshold: float = 0.0, max_detections: int | None = None, labels: Collection[str] | None = None
    ) -> Detections:
        """Those with a score of at least `threshold`, of the named classes alone, at most so many, best first."""
        keep = self.scores >= threshold
        if labels is not None:
            keep &= np.fromiter((label in labels for label in self.labels), bool, len(self))
        kept = np.flatnonzero(keep)[:max_detections]
        mask = np.zeros(len(self), bool)
        mask[kept] = True
        return Detections(self.boxes_xyxy[kept], self.scores[kept], tuple(compress(self.labels, mask)))


@dataclass(frozen=True, slots=True)
class LayerClusters:
    """Clusters C of one encoder layer for one image, over its heads."""

    layer: int
    mean: float
    min: int
    max: int


@dataclass(frozen=True, slots=True)
class AttentionReport:
    """What the encoder did for one image.

    `tokens` N; `clusters`, one per encoder layer, empty for exact attention; giga multiply-adds of the whole
    encoder (projections, attention, feed-forward), for what ran and for what exact attention would have run.
    """

    config: AttentionConfig
    tokens: int
    clusters: tuple[LayerClusters, ...]
    encoder_gflops: float
    exact_encoder_gflops: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A detector's answer for one image: every query's best class, best first, and the encoder's report."""

    detections: Detections
    attention: AttentionReport
