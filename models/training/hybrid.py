"""Hybrid matching (H-DETR, arXiv 2207.13080): more supervision in training, the same model at inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.attention.exact import ExactAttention
from models.detr.detr import Detr
from models.detr.heads import BoxHead
from models.images import ImageBatch, PackedTokens
from models.training.losses import LossTerms, dense_loss, set_loss
from models.training.matcher import Target


@dataclass(frozen=True, slots=True)
class HybridLosses:
    """`one_to_one` is DETR's own loss; the others are None where they are switched off."""

    one_to_one: LossTerms
    one_to_many: LossTerms | None
    dense: LossTerms | None

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""
        return torch.stack([terms.total for terms in self.parts().values()]).sum()

    def parts(self) -> dict[str, LossTerms]:
        """Name the losses that were computed."""
        named = {"one_to_one": self.one_to_one, "one_to_many": self.one_to_many, "dense": self.dense}
        return {name: terms for name, terms in named.items() if terms is not None}


class DenseHead(nn.Module):
    """Class and box of the object that an encoder token lies in."""

    def __init__(self, dim: int, logits: int) -> None:
        super().__init__()
        self.class_embed = nn.Linear(dim, logits)
        self.bbox_embed = BoxHead(dim)

    def forward(self, tokens: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, d] at centres [N, 2] in 0..1 to logits [B, N, K + 1] and boxes_cxcywh [B, N, 4].

        The box's centre is an offset in -1..1 from the token's.
        """
        offset, size = self.bbox_embed(tokens).split(2, -1)
        return self.class_embed(tokens), torch.cat((centres + 2 * offset - 1, size), -1)


class HybridDetr(nn.Module):
    """A Detr in training, with parts that are dropped afterwards: `detr` is saved alone.

    `extra_queries` learned queries go through the same decoder, unseen by the model's own, and every ground
    truth is matched to `repeats` of them. `dense` adds a head on the encoder's tokens. 0 and False switch
    these off.
    """

    def __init__(self, detr: Detr, extra_queries: int, repeats: int, dense: bool) -> None:
        super().__init__()
        self.detr = detr
        self.repeats = repeats
        dim = detr.config.hidden_dim
        self.extra_embed = nn.Embedding(extra_queries, dim) if extra_queries else None
        self.dense_head = DenseHead(dim, len(detr.config.labels) + 1) if dense else None

    def forward(self, batch: ImageBatch, targets: Sequence[Target]) -> HybridLosses:
        """Losses of B images of one size. Raises ValueError for images of several sizes."""
        if len(batch.stacks) != 1:
            raise ValueError(f"a training batch has images of one size, not {len(batch.stacks)}")
        memory = self.detr.encode(batch, ExactAttention()).tokens
        decoded = self.decode(memory)
        logits, boxes = self.detr.class_embed(decoded), self.detr.bbox_embed(decoded)
        own = self.detr.config.queries
        many = None
        if self.extra_embed is not None:
            many = set_loss(logits[:, :, own:], boxes[:, :, own:], targets, self.repeats)
        dense = self.dense_loss(batch, memory, targets)
        return HybridLosses(set_loss(logits[:, :, :own], boxes[:, :, :own], targets), many, dense)

    def decode(self, memory: PackedTokens) -> Tensor:
        """Run the decoder: [layers, B, Q + extra, d], the model's own queries first."""
        own = self.detr.query_embed.weight
        if self.extra_embed is None:
            queries, mask = own, None
        else:
            queries = torch.cat((own, self.extra_embed.weight))
            extra = torch.arange(len(queries), device=own.device) >= len(own)
            mask = extra[:, None] == extra
        decoded: Tensor = self.detr.transformer.decoder(queries, memory, mask)
        return decoded

    def dense_loss(self, batch: ImageBatch, memory: PackedTokens, targets: Sequence[Target]) -> LossTerms | None:
        """Loss of the dense head, None without one."""
        if self.dense_head is None:
            return None
        (run,) = memory.runs()
        stride = self.detr.config.backbone.stride
        height, width = (-(-side // stride) for side in batch.stacks[0].shape[-2:])
        centres = cell_centres(height, width).to(memory.values)
        logits, boxes = self.dense_head(run.dense(memory.values), centres)
        return dense_loss(logits, boxes, centres, targets)


def cell_centres(height: int, width: int) -> Tensor:
    """Centres [height * width, 2] (x, y in 0..1) of a feature map's cells, row by row."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), -1)
