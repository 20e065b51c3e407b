"""Fidelity: the difference that approximate attention makes to the output for the same image and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from models.boxes import cxcywh_to_xyxy, scale_to_pixels
from models.detections import Detections
from models.postprocess import SOFTMAX, Scoring, class_probabilities

CONFIDENT: Final = 0.5
"""Min score of what is compared."""
MATCH_IOU: Final = 0.5
"""Min IoU of a match."""


@dataclass(frozen=True, slots=True)
class ImageFidelity:
    """One image's comparison.

    `box_drift` and `edge_drift` float [n] are of the n queries that exact attention is confident of (see
    `query_drift`), `ious` float [m] of its m confident detections (see `matched_ious`). `encoder_error`: see
    `relative_error`.
    """

    box_drift: NDArray[np.floating[Any]]
    edge_drift: NDArray[np.floating[Any]]
    ious: NDArray[np.floating[Any]]
    encoder_error: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over all confident queries, or detections, of all images; None where there are none.

    `box_drift`: L1 between the two boxes of a query, (cx, cy, w, h) in 0..1, summed as in DETR's loss. `edge_drift`:
    distance between their edges, in pixels of the original image. `matched_iou`: mean IoU of exact attention's
    detections with the best of the same class. `match_rate`: the share of them with an IoU of at least 0.5.
    `encoder_error`: mean over images of ‖approximate - exact‖ / ‖exact‖ of the encoder's output.
    """

    queries: int
    box_drift: float | None
    edge_drift: float | None
    matched_iou: float | None
    match_rate: float | None
    encoder_error: float


def query_drift(
    exact_logits: Tensor,
    exact_cxcywh: Tensor,
    other_cxcywh: Tensor,
    height: int,
    width: int,
    scoring: Scoring = SOFTMAX,
) -> tuple[Tensor, Tensor]:
    """Distances between the boxes of each query of one image that exact attention is confident of.

    `exact_logits` [Q, classes + 1], the last being no-object, unless `scoring` is by the sigmoid; both boxes [Q, 4]
    in 0..1; height and width in pixels.
    Returns [n] summed L1 of (cx, cy, w, h) in 0..1, and [n] mean distance of the four edges in pixels.
    """
    confident = class_probabilities(exact_logits, scoring).amax(-1) >= CONFIDENT
    exact, other = exact_cxcywh[confident].float(), other_cxcywh[confident].float()
    edges = scale_to_pixels(cxcywh_to_xyxy(exact) - cxcywh_to_xyxy(other), height, width)
    return (exact - other).abs().sum(-1), edges.abs().mean(-1)


def matched_ious(exact: Detections, other: Detections) -> NDArray[np.float32]:
    """IoU of every confident detection of `exact` with the best of its class in `other`; float32 [m].

    The same threshold holds for both, so a detection that falls below it in `other` counts 0. Two detections of
    `exact` may match the same one of `other`.
    """
    exact, other = exact.select(CONFIDENT), other.select(CONFIDENT)
    if not len(exact) or not len(other):
        return np.zeros(len(exact), np.float32)
    ious = box_iou(torch.from_numpy(exact.boxes_xyxy), torch.from_numpy(other.boxes_xyxy)).numpy()
    same_class = np.array(exact.labels)[:, None] == np.array(other.labels)[None]
    best: NDArray[np.float32] = np.where(same_class, ious, 0).max(1)
    return best


def relative_error(other: Tensor, exact: Tensor) -> float:
    """‖other - exact‖ / ‖exact‖ of two tensors of one shape."""
    exact = exact.float()
    return float((other.float() - exact).norm() / exact.norm())


def fidelity(images: Sequence[ImageFidelity]) -> Fidelity:
    """Average over images, of which there is at least one."""
    drift = np.concatenate([image.box_drift for image in images])
    edges = np.concatenate([image.edge_drift for image in images])
    ious = np.concatenate([image.ious for image in images])
    return Fidelity(
        queries=len(drift),
        box_drift=_mean(drift),
        edge_drift=_mean(edges),
        matched_iou=_mean(ious),
        match_rate=_mean(ious >= MATCH_IOU),
        encoder_error=float(np.mean([image.encoder_error for image in images])),
    )


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None
