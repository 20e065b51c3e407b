"""Detections in pixels, read off the model's raw outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.boxes import cxcywh_to_xyxy, scale_to_pixels
from models.detections import Detections
from models.preprocess import PreparedImage


@dataclass(frozen=True, slots=True)
class Scoring:
    """How logits become scores.

    Without `top`, a query has one class: the best by a softmax over the classes and no-object, which is the last logit.
    With `top`, every class of a query has a score of its own by the sigmoid, there is no no-object, and the `top` best
    pairs of query and class of an image are its detections.
    """

    top: int | None = None


SOFTMAX: Final = Scoring()


def read_detections(
    logits: Tensor,
    boxes_cxcywh: Tensor,
    image: PreparedImage,
    labels: tuple[str | None, ...],
    scoring: Scoring = SOFTMAX,
) -> Detections:
    """Detections of one image, best first: logits [Q, classes + 1], without the 1 where `scoring` is by the sigmoid.

    `boxes_cxcywh` [Q, 4] are in 0..1. Those whose class is an id that the data set does not use are left out. Equal
    scores keep the order of the queries.
    """
    scores, queries, names = _named(logits, labels, scoring)
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()[queries])
    height, width = image.original_height, image.original_width
    boxes = scale_to_pixels(boxes, height, width).clamp(min=0)
    boxes = torch.minimum(boxes, boxes.new_tensor((width, height, width, height)))
    return Detections(boxes.cpu().numpy(), scores.cpu().numpy(), names)


def detected_queries(logits: Tensor, labels: tuple[str | None, ...], scoring: Scoring = SOFTMAX) -> Tensor:
    """Int64 [n]: the query that each of the n detections comes from, that `read_detections` gives for these logits."""
    return _named(logits, labels, scoring)[1]


def class_probabilities(logits: Tensor, scoring: Scoring = SOFTMAX) -> Tensor:
    """Float32 [..., Q, classes] of logits as `read_detections` takes them."""
    return logits.float().softmax(-1)[..., :-1] if scoring.top is None else logits.float().sigmoid()


def _named(logits: Tensor, labels: tuple[str | None, ...], scoring: Scoring) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Scores [n], queries [n] and class names of the detections whose class has a name, best first."""
    scores, queries, classes = _best(logits, scoring.top)
    names = [labels[index] for index in classes.tolist()]
    used = torch.tensor([name is not None for name in names])
    return scores[used], queries[used], tuple(name for name in names if name is not None)


def _best(logits: Tensor, top: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, queries and classes [n] of the detections, best first."""
    probabilities = class_probabilities(logits, Scoring(top))
    if top is None:
        scores, classes = probabilities.max(-1)
        scores, queries = torch.sort(scores, descending=True, stable=True)
        return scores, queries, classes[queries]
    scores = probabilities.flatten()
    least = scores.topk(min(top, len(scores))).values[-1]
    pairs = (scores >= least).nonzero()[:, 0]  # few: sorting them all takes longer than finding them
    order = torch.sort(scores[pairs], descending=True, stable=True).indices[:top]
    pairs = pairs[order]
    return scores[pairs], pairs // logits.shape[1], pairs % logits.shape[1]
