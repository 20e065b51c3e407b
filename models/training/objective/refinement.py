"""Training of only the box refinement of a Detr, on boxes of exact and approximate attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torchvision.ops import box_iou, generalized_box_iou_loss

from models.attention_config import AttentionConfig
from models.boxes import cxcywh_to_xyxy, scale_to_pixels
from models.config import DetrConfig
from models.detr.box_refinement import BoxRefinement, Refined
from models.detr.detr import Detr, Features
from models.images import ImageBatch
from models.precision import at_least_float32
from models.training.objective.full_precision import training_attention
from models.training.objective.matcher import Target
from models.training.processes import global_mean_count

GIOU_WEIGHT: Final = 2.0
BIN_WEIGHT: Final = 0.25
L1_WEIGHT: Final = 0.5

MIN_IOU: Final = 0.25
"""A box that overlaps every object less is none of them; it is left to the class head to say so."""

NOISE: Final = 0.04
"""Maximum standard deviation of the noise on boxes, in shares of their sides: what other attention may do to them."""


@dataclass(frozen=True, slots=True)
class RefinementLosses:
    """`total` is what is minimised; `ious` the boxes' mean IoU with their objects as given and after every stage."""

    total: Tensor
    ious: tuple[Tensor, ...]

    def scalars(self) -> dict[str, Tensor]:
        """Everything worth a curve, by name."""
        given, *stages = self.ious
        named = {f"iou/stage {number}": iou for number, iou in enumerate(stages, 1)}
        return {"total": self.total, "iou/given": given} | named


@dataclass(frozen=True, slots=True)
class _Sample:
    """n boxes to refine, of images of one size.

    `queries` [n, d]; `boxes_xyxy` and `wanted_xyxy` [n, 4] in pixels; `images` int64 [n]; `weight` [n].
    """

    queries: Tensor
    boxes_xyxy: Tensor
    wanted_xyxy: Tensor
    images: Tensor
    weight: Tensor


class RefinementTraining(nn.Module):
    """`detr` with all but its box refinement frozen.

    Half of the steps take boxes that exact attention gives, the others those of ACT at the model's own L and r, at
    twice that r, of tangent attention, or of token merging. Raises ValueError for a model without box refinement.
    """

    def __init__(self, detr: Detr) -> None:
        super().__init__()
        if detr.box_refinement is None:
            raise ValueError(f"{detr.config.name} has no box refinement to train")
        self.detr = detr.requires_grad_(False)
        detr.box_refinement.requires_grad_(True)
        self.approximate_attentions = approximate_attentions(detr.config)

    def forward(self, batch: ImageBatch, targets: Sequence[Target]) -> RefinementLosses:
        """Loss of B images of any sizes: the weighted mean over boxes, of whichever process."""
        features = self.detr.features(batch)
        encoded = self.detr.transformer.encoder(features.tokens, *training_attention(self.attention()))
        decoded = self.detr.transformer.decoder(self.detr.query_embed.weight, encoded.tokens)[-1]
        sums = []
        with torch.autocast(decoded.device.type, enabled=False):  # a box in bfloat16 is a pixel off
            for index, sample in self.samples(features, at_least_float32(decoded), targets):
                stages = self.refinement(sample.queries, sample.boxes_xyxy, sample.images, features.pyramids[index])
                sums.append(_sums(sample, stages))
        loss, weight, *ious = torch.stack(sums).sum(0)
        whole = global_mean_count(weight.detach())
        own = weight.detach().clamp(min=1e-6)
        return RefinementLosses(loss / whole, tuple(iou.detach() / own for iou in ious))

    @property
    def refinement(self) -> BoxRefinement:
        """The part that learns."""
        return cast("BoxRefinement", self.detr.box_refinement)

    def attention(self) -> AttentionConfig:
        """Draw the attention of a step."""
        if not self.approximate_attentions or torch.rand(()) < 0.5:
            return AttentionConfig.exact()
        return self.approximate_attentions[int(torch.randint(len(self.approximate_attentions), ()))]

    def samples(self, features: Features, decoded: Tensor, targets: Sequence[Target]) -> Iterator[tuple[int, _Sample]]:
        """For every pyramid, the queries [B, Q, d] decoded that overlap an object, with the boxes to learn.

        Every query that is refined when serving learns the object that its box overlaps most: several may share one.
        """
        with torch.autocast(decoded.device.type, enabled=False):
            logits, boxes = self.detr.class_embed(decoded), self.detr.boxes(decoded, features.shares)
        object_probability = 1 - logits.softmax(-1)[..., -1]
        for index, (pyramid, images) in enumerate(features.by_pyramid()):
            parts = []
            for row, image in enumerate(images):
                start = scale_to_pixels(cxcywh_to_xyxy(boxes[image]), pyramid.height, pyramid.width)
                sides = (start[:, 2:] - start[:, :2]).repeat(1, 2)
                noise = NOISE * torch.rand(()) * torch.randn(start.shape)  # a checkpoint keeps the CPU's random state
                start = start + noise.to(start) * sides
                objects = cxcywh_to_xyxy(targets[image].boxes_cxcywh.to(start))
                objects = torch.cat((objects, objects.new_zeros(1, 4)))  # a page may have none
                objects = scale_to_pixels(objects, pyramid.height, pyramid.width)
                iou, nearest = box_iou(start, objects).max(1)
                probability = object_probability[image]
                (kept,) = ((iou > MIN_IOU) & (probability >= self.refinement.least_score)).nonzero(as_tuple=True)
                own = torch.full_like(kept, row)
                parts.append((decoded[image, kept], start[kept], objects[nearest[kept]], own, probability[kept].sqrt()))
            yield index, _Sample(*(torch.cat(column) for column in zip(*parts, strict=True)))


def approximate_attentions(config: DetrConfig) -> list[AttentionConfig]:
    """The approximate attentions whose boxes a refinement should know."""
    act = config.default_act
    return [act, replace(act, r=2 * act.r), config.default_tangent, config.default_merge]


def side_loss(stage: Refined, boxes_xyxy: Tensor, wanted_xyxy: Tensor) -> Tensor:
    """Loss [n] of the sides that a stage found, starting from boxes [n, 4], where [n, 4] was wanted; in pixels.

    1 - GIoU; the distribution focal loss without its focus (arXiv 2006.04388): cross-entropy with the two places that
    the wanted side lies between, or the outermost one; L1 in shares of the reach, at most 2 a side.
    """
    giou: Tensor = generalized_box_iou_loss(stage.boxes_xyxy, wanted_xyxy)
    reach = stage.reach[:, None]
    off = (wanted_xyxy - boxes_xyxy).view(-1, 2, 2) / reach
    inwards = torch.stack((off[:, 0], -off[:, 1]), 1)
    bins = stage.logits.shape[-1]
    where = ((inwards + 1) * bins / 2 - 0.5).clamp(0, bins - 1)
    below = where.floor().clamp(max=bins - 2)
    share = where - below
    logs = log_softmax(stage.logits, -1)
    at = below.long()[..., None]
    nats = -((1 - share) * logs.gather(-1, at)[..., 0] + share * logs.gather(-1, at + 1)[..., 0])
    l1 = ((stage.boxes_xyxy - wanted_xyxy).view(-1, 2, 2).abs() / reach).clamp(max=2)
    return GIOU_WEIGHT * giou + BIN_WEIGHT * nats.mean((1, 2)) + L1_WEIGHT * l1.mean((1, 2))


def _sums(sample: _Sample, stages: Sequence[Refined]) -> Tensor:
    """Weighted sums of the loss, of 1, and of the IoU as given and after every stage."""
    given, loss = sample.boxes_xyxy, torch.zeros_like(sample.weight)
    ious = [_iou(given, sample.wanted_xyxy)]
    for stage in stages:
        loss = loss + side_loss(stage, given, sample.wanted_xyxy)
        given = stage.boxes_xyxy.detach()
        ious.append(_iou(given, sample.wanted_xyxy))
    columns = (loss, torch.ones_like(loss), *ious)
    return torch.stack([(column * sample.weight).sum() for column in columns])


def _iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """IoU [n] of boxes [n, 4] with their partners [n, 4]."""
    low = torch.maximum(boxes_xyxy[:, :2], others_xyxy[:, :2])
    high = torch.minimum(boxes_xyxy[:, 2:], others_xyxy[:, 2:])
    common: Tensor = (high - low).clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (boxes_xyxy, others_xyxy)]
    whole: Tensor = areas[0] + areas[1] - common
    return common.div(whole.clamp(min=1e-6))
