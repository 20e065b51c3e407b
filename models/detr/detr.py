"""DETR: backbone, packed encoder, decoder, heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from models.attention.strategy import AttentionStrategy
from models.attention.token_merging import TokenMerging
from models.boxes import cxcywh_to_xyxy, scale_from_pixels, scale_to_pixels, xyxy_to_cxcywh
from models.config import DetrConfig
from models.detr.backbone import Backbone
from models.detr.box_refinement import BoxRefinement, Pyramid
from models.detr.canvas import canvas_shares, on_canvas, token_grid
from models.detr.decoder import Decoder
from models.detr.encoder import Encoded, Encoder
from models.detr.frozen_batch_norm import FrozenBatchNorm2d, NormLayer
from models.detr.heads import BoxHead
from models.detr.mask_head import Segmentable
from models.detr.position_encoding import sine_positions
from models.device import on_device
from models.images import ImageBatch, PackedTokens

ROUNDING: Final = 1e-4
"""Softmax rounds differently from device to device; a score may be off by less than this."""


@dataclass(frozen=True, slots=True)
class DetrOutput:
    """Output of the model for B images.

    `logits` [B, Q, classes + 1], the last being no-object; `boxes_cxcywh` [B, Q, 4] in 0..1, relative to each
    image; `encoded` the encoder's tokens and cluster counts; `refinable` bool [B, Q], True where a box was refined,
    None without box refinement; `segmentable` what masks are made of, by image, empty unless that was asked for.
    """

    logits: Tensor
    boxes_cxcywh: Tensor
    encoded: Encoded
    refinable: Tensor | None = None
    segmentable: tuple[Segmentable, ...] = ()

    @property
    def refined(self) -> tuple[int, ...]:
        """How many boxes of each image were refined. Waits for the device."""
        return (0,) * len(self.logits) if self.refinable is None else tuple(self.refinable.sum(1).tolist())


@dataclass(frozen=True, slots=True)
class ImageMaps:
    """Of one image, the `projected` map and the `levels` of a `Segmentable`, and the (rows, columns) of its tokens."""

    projected: Tensor
    levels: tuple[Tensor, ...]
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Features:
    """Output of the backbone for B images, whatever attention comes after it.

    `tokens` for the encoder, in input order; for the box refinement, if any, a pyramid of every stack of the batch,
    and in `order` each image's index, counted through the stacks. `shares` [B, 1, 4] is what `Detr.boxes` takes.
    `maps` are, by image, what `Detr.segmentable` takes, empty unless that was asked for.
    """

    tokens: PackedTokens
    pyramids: tuple[Pyramid, ...]
    order: tuple[int, ...]
    shares: Tensor | None = None
    maps: tuple[ImageMaps, ...] = ()

    def by_pyramid(self) -> Iterator[tuple[Pyramid, list[int]]]:
        """Yield each pyramid with the input indices of its images, in its own order."""
        indices = sorted(range(len(self.order)), key=self.order.__getitem__)
        for pyramid in self.pyramids:
            images = len(pyramid.fine)
            yield pyramid, indices[:images]
            indices = indices[images:]


class Transformer(nn.Module):
    """Holds encoder and decoder where published checkpoints have them (`transformer.encoder`, `.decoder`)."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)


class Detr(nn.Module):
    """The model. Its state-dict keys are those of the published checkpoints.

    `norm` makes the backbone's norm layers: frozen for fine-tuning and inference, `torch.nn.BatchNorm2d` to
    train from nothing.
    """

    def __init__(self, config: DetrConfig, norm: NormLayer = FrozenBatchNorm2d) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.class_embed = nn.Linear(config.hidden_dim, len(config.labels) + 1)
        self.bbox_embed = BoxHead(config.hidden_dim)
        self.query_embed = nn.Embedding(config.queries, config.hidden_dim)
        self.input_proj = nn.Conv2d(config.backbone.channels, config.hidden_dim, 1)
        self.backbone = nn.Sequential(Backbone(config.resnet, norm))
        self.box_refinement = BoxRefinement(config) if config.box_refinement else None

    def forward(
        self,
        batch: ImageBatch,
        attention: AttentionStrategy,
        thresholds: Sequence[float] | None = None,
        merging: TokenMerging | None = None,
    ) -> DetrOutput:
        """Detect in images of any sizes; results are in input order. `thresholds`: see `decode`."""
        features = self.features(batch)
        return self.decode(features, self.transformer.encoder(features.tokens, attention, merging), thresholds)

    def decode(self, features: Features, encoded: Encoded, thresholds: Sequence[float] | None = None) -> DetrOutput:
        """All that follows the encoder: decoder, heads and, if the model has one, the box refinement.

        `thresholds` has an entry per image, in 0..1: boxes whose score cannot reach it are not refined.
        """
        decoded = self.transformer.decoder(self.query_embed.weight, encoded.tokens)[-1]
        logits, boxes = self.class_embed(decoded), self.boxes(decoded, features.shares)
        segmentable = self.segmentable(features, encoded, decoded)
        if self.box_refinement is None:
            return DetrOutput(logits, boxes, encoded, segmentable=segmentable)
        object_probability = 1 - logits.float().softmax(-1)[..., -1]
        min_probability = on_device(thresholds or [0.0] * len(logits), logits.device) - ROUNDING
        refinable = object_probability >= min_probability.clamp(min=self.box_refinement.least_score)[:, None]
        refined = self._refined(self.box_refinement, boxes.float(), decoded, features, refinable)
        return DetrOutput(logits, refined, encoded, refinable, segmentable)

    def segmentable(self, features: Features, encoded: Encoded, decoded: Tensor) -> tuple[Segmentable, ...]:
        """What masks are made of, by image, from decoded [B, Q, d]; empty where the features have no maps."""
        if not features.maps:
            return ()
        memories = torch.split(encoded.tokens.values, list(encoded.tokens.lengths))
        return tuple(
            Segmentable(queries, memory.T.reshape(-1, *maps.grid), maps.projected, maps.levels)
            for queries, memory, maps in zip(decoded, memories, features.maps, strict=True)
        )

    def _refined(
        self, refinement: BoxRefinement, boxes: Tensor, decoded: Tensor, features: Features, refinable: Tensor
    ) -> Tensor:
        """Boxes_cxcywh float32 [B, Q, 4] with the `refinable` ones [B, Q] refined."""
        refined = boxes.clone()
        for pyramid, images in features.by_pyramid():
            indices = on_device(images, boxes.device)
            rows, queries = chosen_boxes(refinable[indices])
            chosen = indices[rows], queries
            start = scale_to_pixels(cxcywh_to_xyxy(boxes[chosen]), pyramid.height, pyramid.width)
            *_, last = refinement(decoded[chosen], start, rows, pyramid)
            relative = scale_from_pixels(last.boxes_xyxy, pyramid.height, pyramid.width)
            refined[chosen] = xyxy_to_cxcywh(relative)
        return torch.where(refinable[..., None], refined, boxes)

    def boxes(self, decoded: Tensor, shares: Tensor | None) -> Tensor:
        """boxes_cxcywh [..., B, Q, 4] relative to each image, from decoded [..., B, Q, d].

        `shares` [B, 1, 4] are canvas by image (`models.detr.canvas.canvas_shares`), None without any.
        """
        boxes: Tensor = self.bbox_embed(decoded)
        return boxes if shares is None else boxes * shares

    def shares(self, batch: ImageBatch) -> Tensor | None:
        """Canvas by image of a batch, as `boxes` takes it."""
        shares = canvas_shares(batch.sizes, self.config)
        return None if shares is None else on_device(shares, batch.stacks[0].device)

    def tokens(self, batch: ImageBatch) -> PackedTokens:
        """The backbone's feature maps, projected to the hidden width, row by row, image after image."""
        return self.features(batch, pyramids=False).tokens

    def features(self, batch: ImageBatch, pyramids: bool = True, masks: bool = False) -> Features:
        """Run the backbone: one pass serves any number of encoder passes. `masks`: keep what masks are made of."""
        by_stack, pyramids_by_stack, maps_by_stack = [], [], []
        for images in batch.stacks:
            maps = self.backbone(on_canvas(images, self.config))
            height, width = images.shape[-2:]
            rows, columns = token_grid(height, width, self.config)
            features = self.input_proj(maps[-1][..., :rows, :columns])
            positions = sine_positions(rows, columns, self.config.hidden_dim, features.device, features.dtype)
            by_stack += [(values, positions) for values in features.flatten(2).transpose(1, 2)]
            if self.box_refinement is not None and pyramids:
                pyramids_by_stack.append(self.box_refinement.pyramid(maps, height, width))
            if masks:
                maps_by_stack += self._image_maps(maps, (rows, columns))
        images_in_order = [by_stack[i] for i in batch.order]
        tokens = PackedTokens(
            torch.cat([values for values, _ in images_in_order]),
            torch.cat([positions for _, positions in images_in_order]),
            tuple(len(values) for values, _ in images_in_order),
            tuple(token_grid(height, width, self.config) for height, width in batch.sizes),
        )
        in_order = tuple(maps_by_stack[i] for i in batch.order) if masks else ()
        return Features(tokens, tuple(pyramids_by_stack), batch.order, self.shares(batch), in_order)

    def _image_maps(self, maps: Sequence[Tensor], grid: tuple[int, int]) -> list[ImageMaps]:
        """Maps of the whole canvas, of each image of a stack; `maps` are the backbone's."""
        projected = self.input_proj(maps[-1])  # again, also of padding: boxes must not round differently for it
        finest, finer, fine, *_ = maps[-len(self.config.resnet.blocks) :]
        return [
            ImageMaps(one, tuple(levels), grid) for one, *levels in zip(projected, fine, finer, finest, strict=True)
        ]


def chosen_boxes(refinable: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the boxes to refine, int64 [n] each, of refinable [b, Q].

    A GPU would stop to say how many there are. It takes every box instead, which costs it less than the wait. So does
    a graph that is being exported: its shapes are fixed.
    """
    if refinable.is_cuda or torch.compiler.is_exporting():
        return every_box(refinable)
    rows, queries = refinable.nonzero(as_tuple=True)
    return rows, queries


def every_box(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, int64 [b * Q] each, of all entries of [b, Q]."""
    images, count = boxes.shape
    rows = torch.arange(images, device=boxes.device).repeat_interleave(count)
    return rows, torch.arange(count, device=boxes.device).repeat(images)
