"""Training losses: DETR's set loss (section 3.2) and dense supervision of the encoder's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.ops import generalized_box_iou_loss

from models.boxes import cxcywh_to_xyxy
from models.precision import at_least_float32
from models.training.objective.matcher import PaddedTargets, Target, match
from models.training.processes import global_mean_count, mean_over_processes

CLASS_WEIGHT: Final = 1.0
L1_WEIGHT: Final = 5.0
GIOU_WEIGHT: Final = 2.0
BACKGROUND_WEIGHT: Final = 0.5  # tokens beside every object are about as many as those in one


class Losses(Protocol):
    """The losses of a training step."""

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""

    def scalars(self) -> dict[str, Tensor]:
        """Everything worth a curve, by name."""


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalars, not yet weighted: cross-entropy, L1 of boxes_cxcywh in 0..1, and 1 - GIoU."""

    class_: Tensor
    l1: Tensor
    giou: Tensor

    @property
    def total(self) -> Tensor:
        """The weighted sum that is minimised."""
        return CLASS_WEIGHT * self.class_ + L1_WEIGHT * self.l1 + GIOU_WEIGHT * self.giou


def set_loss(
    logits: Tensor,
    boxes_cxcywh: Tensor,
    targets: Sequence[Target],
    repeats: int = 1,
    no_object_weight: float = 0.1,
) -> LossTerms:
    """DETR's loss, summed over the decoder's layers, each of which is matched by itself.

    Takes logits [layers, B, Q, K + 1] and boxes_cxcywh [layers, B, Q, 4] in 0..1. The box terms are divided
    by the ground-truth boxes of the batch times `repeats` (at least 1); the class term is the weighted mean
    over queries, no-object weighing `no_object_weight`. Reduced precision is computed as float32.

    Where several processes share a batch, the batch is the whole: the mean of their losses is its loss.
    """
    images, queries = logits.shape[1:3]
    layer_logits = at_least_float32(logits).flatten(0, 1)
    layer_boxes = at_least_float32(boxes_cxcywh).flatten(0, 1)
    padded = PaddedTargets.from_targets(targets, layer_boxes)
    row, query, target = _matched_rows(match(layer_logits, layer_boxes, list(targets) * len(logits), repeats))
    classes = torch.full((len(layer_logits), queries), logits.shape[-1] - 1, device=logits.device)
    classes[row, query] = padded.labels[row % images, target]
    l1, giou = box_losses(layer_boxes[row, query], padded.boxes_cxcywh[row % images, target])
    boxes = global_mean_count(l1.new_tensor(repeats * sum(len(target) for target in targets)))
    return LossTerms(
        class_loss(
            layer_logits.reshape(len(logits), images * queries, -1),
            classes.reshape(len(logits), images * queries),
            no_object_weight,
        ),
        l1.sum() / boxes,
        giou.sum() / boxes,
    )


@dataclass(frozen=True, slots=True)
class DenseGuess:
    """The output of a dense head for the tokens of b images of one size, and the truth.

    `logits` [b, N, K + 1]; `boxes_cxcywh` [b, N, 4]; `centres` [N, 2] (x, y) of the tokens; boxes and centres
    in 0..1.
    """

    logits: Tensor
    boxes_cxcywh: Tensor
    centres: Tensor
    targets: Sequence[Target]


def dense_loss(guesses: Sequence[DenseGuess]) -> LossTerms:
    """Teach every token the class and the box of the object that it lies in.

    `owners` says which token belongs to which object. The class term is a mean over the tokens of all images,
    those beside every object weighing `BACKGROUND_WEIGHT`; in the box terms every object counts alike, however
    many tokens it owns. Reduced precision is computed as float32.
    """
    sums = [_dense_sums(guess) for guess in guesses]
    class_, weight, l1, giou, objects = (torch.stack(column).sum() for column in zip(*sums, strict=True))
    objects = global_mean_count(objects)
    return LossTerms(class_ / mean_over_processes(weight), l1 / objects, giou / objects)


def _dense_sums(guess: DenseGuess) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sums of cross-entropy and of its weights over the tokens, of L1, 1 - GIoU and 1 over the objects."""
    logits, boxes = at_least_float32(guess.logits), at_least_float32(guess.boxes_cxcywh)
    padded = PaddedTargets.from_targets(guess.targets, boxes)
    owner, owned = owners(guess.centres.to(boxes), padded)
    background = torch.full_like(owner, logits.shape[-1] - 1)
    classes = torch.where(owned, padded.labels.gather(1, owner), background)
    weight = last_weighted(logits, BACKGROUND_WEIGHT)
    nats = cross_entropy(logits.flatten(0, 1), classes.flatten(), weight, reduction="sum")
    tokens = torch.zeros_like(padded.real, dtype=boxes.dtype).scatter_add_(1, owner, owned.to(boxes))
    share = (1 / tokens).gather(1, owner)[owned]
    wanted = padded.boxes_cxcywh.gather(1, owner[..., None].expand(-1, -1, 4))[owned]
    l1, giou = box_losses(boxes[owned], wanted)
    return nats, weight[classes].sum(), (l1 * share).sum(), (giou * share).sum(), (tokens > 0).sum().to(boxes)


def owners(centres: Tensor, targets: PaddedTargets) -> tuple[Tensor, Tensor]:
    """Find the object that each token belongs to: int64 [B, N], and bool [B, N], False for no object.

    An object owns the tokens whose centres [N, 2] lie in its box or, if there is none, those nearest to it:
    a line of text may be thinner than a cell. Of several objects the smallest owns the token.
    """
    size = targets.boxes_cxcywh[:, None, :, 2:]
    apart = (centres[None, :, None] - targets.boxes_cxcywh[:, None, :, :2]).abs() - size / 2
    distance = apart.clamp(min=0).sum(-1)
    nearest = distance <= distance.amin(1, keepdim=True) + torch.finfo(distance.dtype).eps
    area = size.prod(-1).expand_as(distance)
    smallest = area.masked_fill(~(nearest & targets.real[:, None]), torch.inf).min(-1)
    return smallest.indices, smallest.values.isfinite()


def class_loss(logits: Tensor, classes: Tensor, last_weight: float) -> Tensor:
    """Cross-entropy of logits [G, M, K + 1] and classes int64 [G, M]: a weighted mean over M, summed over G.

    Class K weighs `last_weight`, every other 1.
    """
    weight = last_weighted(logits, last_weight)
    losses = cross_entropy(logits.transpose(1, 2), classes, weight, reduction="none")
    return (losses.sum(1) / mean_over_processes(weight[classes].sum(1))).sum()


def last_weighted(logits: Tensor, last_weight: float) -> Tensor:
    """Class weights [K + 1] for logits [..., K + 1]: 1, but `last_weight` for the last."""
    weight = logits.new_ones(logits.shape[-1])
    weight[-1] = last_weight
    return weight


def box_losses(predicted_cxcywh: Tensor, wanted_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """L1 [m] and 1 - GIoU [m] of boxes [m, 4], pair by pair."""
    l1 = (predicted_cxcywh - wanted_cxcywh).abs().sum(-1)
    giou: Tensor = generalized_box_iou_loss(cxcywh_to_xyxy(predicted_cxcywh), cxcywh_to_xyxy(wanted_cxcywh))
    return l1, giou


def _matched_rows(matches: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Join matches into index tensors [m]: which row of the batch, which query, which ground truth."""
    rows = [torch.full_like(query, row) for row, (query, _) in enumerate(matches)]
    return (
        torch.cat(rows),
        torch.cat([query for query, _ in matches]),
        torch.cat([target for _, target in matches]),
    )
