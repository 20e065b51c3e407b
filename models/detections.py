"""A detector's results for one image, and the report of its encoder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.attention_config import AttentionConfig
from models.masks.masks import Masks


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects of one image, best first.

    `boxes_xyxy` float32 [n, 4]: xmin, ymin, xmax, ymax in pixels of the original image, inside it;
    `scores` float32 [n] in 0..1, falling; `labels` n class names; `masks` n masks, None unless they were asked for.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, float, float, float]]]:
        """Yield (label, score, (xmin, ymin, xmax, ymax)) of each, best first."""
        for label, score, box in zip(self.labels, self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True):
            yield label, score, tuple(box)

    def select(
        self,
        threshold: float = 0.0,
        max_detections: int | None = None,
        labels: Collection[str] | None = None,
        nms: float | None = None,
    ) -> Detections:
        """Those with a score of at least `threshold` and of the classes `labels`, at most `max_detections`, best first.

        `nms` in 0..1 drops a detection whose IoU with a better one of its class that stays is greater.
        """
        keep = self.scores >= threshold
        if labels is not None:
            keep &= np.fromiter((label in labels for label in self.labels), bool, len(self))
        kept = self._at(np.flatnonzero(keep))
        if nms is not None:
            kept = kept._at(kept._distinct(nms))
        return kept._at(np.arange(len(kept))[:max_detections])

    def _at(self, rows: NDArray[np.int64]) -> Detections:
        labels = tuple(self.labels[row] for row in rows)
        masks = None if self.masks is None else self.masks.at(rows)
        return Detections(self.boxes_xyxy[rows], self.scores[rows], labels, masks)

    def _distinct(self, max_iou: float) -> NDArray[np.int64]:
        """Rows that are left by non-maximum suppression within each class, rising."""
        ids = {label: i for i, label in enumerate(dict.fromkeys(self.labels))}
        classes = np.array([ids[label] for label in self.labels], np.int64)
        overlaps = (box_ious(self.boxes_xyxy, self.boxes_xyxy) > max_iou) & (classes[:, None] == classes)
        left = np.ones(len(self), bool)
        for row in range(len(self)):  # best first
            if left[row]:
                left[row + 1 :] &= ~overlaps[row, row + 1 :]
        return np.flatnonzero(left)


def box_ious(boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union [n, m] of boxes [n, 4] with others [m, 4]; 0 where neither has an area.

    torchvision has it too, but importing that doubles the time of a start.
    """
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[:, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[:, 2:])
    intersections = (high - low).clip(0).prod(-1)
    areas, other_areas = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (boxes_xyxy, others_xyxy))
    unions = areas[:, None] + other_areas - intersections
    ious: NDArray[np.float32] = intersections / np.where(unions > 0, unions, 1)
    return ious


@dataclass(frozen=True, slots=True)
class LayerClusters:
    """Clusters C of one encoder layer for one image, over its heads."""

    layer: int
    mean: float
    min: int
    max: int


@dataclass(frozen=True, slots=True)
class AttentionReport:
    """Account of the encoder for one image.

    `tokens` N; `clusters`, one per encoder layer, empty where nothing is clustered; giga multiply-adds of the whole
    encoder (projections, attention, feed-forward), for what ran and for what exact attention would have run.
    `merged_tokens` is how many of the tokens were left in the encoder after merging; None: nothing was merged.
    """

    config: AttentionConfig
    tokens: int
    clusters: tuple[LayerClusters, ...]
    encoder_gflops: float
    exact_encoder_gflops: float
    merged_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Result for one image: every query's best class, best first, and the encoder's report."""

    detections: Detections
    attention: AttentionReport
