"""How near approximate attention stays to exact attention: the same image, the same weights, two answers."""

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

CONFIDENT: Final = 0.5
"""The least score of an exact answer that is worth comparing."""
FOUND_AGAIN: Final = 0.5
"""The least IoU at which an object counts as found again."""


@dataclass(frozen=True, slots=True)
class ImageFidelity:
    """One image's comparison.

    `box_drift` and `edge_drift` float [n], of the n queries that exact attention was confident of (see
    `query_drift`); `ious` float [m], of its m confident detections (see `matched_ious`); `encoder_error`: see
    `relative_error`.
    """

    box_drift: NDArray[np.floating[Any]]
    edge_drift: NDArray[np.floating[Any]]
    ious: NDArray[np.floating[Any]]
    encoder_error: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over all confident queries, or detections, of all images; None where there were none.

    `box_drift`: L1 between the two boxes of a query, (cx, cy, w, h) in 0..1, summed as in DETR's loss. `edge_drift`:
    how far an edge of that box moved, in pixels of the original image. `matched_iou`, `found_again`: mean IoU of
    exact's detections with the best of the same class, and the share with an IoU of at least 0.5.
    `encoder_error`: mean over images of ‖approximate - exact‖ / ‖exact‖ of the encoder's output.
    """

    queries: int
    box_drift: float | None
    edge_drift: float | None
    matched_iou: float | None
    found_again: float | None
    encoder_error: float


def query_drift(
    exact_logits: Tensor, exact_cxcywh: Tensor, other_cxcywh: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """How far the boxes of one image moved, query by query, where exact attention was confident.

    `exact_logits` [Q, classes + 1], the last being no-object; both boxes [Q, 4] in 0..1; height and width in pixels.
    Returns [n] summed L1 of (cx, cy, w, h) in 0..1, and [n] mean distance of the four edges in pixels.
    """
    confident = exact_logits.float().softmax(-1)[:, :-1].amax(-1) >= CONFIDENT
    exact, other = exact_cxcywh[confident].float(), other_cxcywh[confident].float()
    edges = scale_to_pixels(cxcywh_to_xyxy(exact) - cxcywh_to_xyxy(other), height, width)
    return (exact - other).abs().sum(-1), edges.abs().mean(-1)


def matched_ious(exact: Detections, other: Detections) -> NDArray[np.float32]:
    """IoU of every confident detection of `exact` with the best of its class in `other`; float32 [m].

    Both at the same threshold: what falls below it in `other` is not found, and counts 0. Two of `exact` may share
    one of `other`.
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
    """Sum up at least one image."""
    drift = np.concatenate([image.box_drift for image in images])
    edges = np.concatenate([image.edge_drift for image in images])
    ious = np.concatenate([image.ious for image in images])
    return Fidelity(
        queries=len(drift),
        box_drift=_mean(drift),
        edge_drift=_mean(edges),
        matched_iou=_mean(ious),
        found_again=_mean(ious >= FOUND_AGAIN),
        encoder_error=float(np.mean([image.encoder_error for image in images])),
    )


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None
