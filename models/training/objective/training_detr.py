"""A Detr in training: hybrid matching (H-DETR, arXiv 2207.13080), dense supervision, distillation around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detr.canvas import token_grid
from models.detr.detr import Detr
from models.detr.encoder import Encoded
from models.detr.heads import BoxHead
from models.images import ImageBatch, PackedTokens
from models.precision import at_least_float32
from models.training.objective.distillation import Distillation
from models.training.objective.full_precision import training_attention
from models.training.objective.losses import DenseGuess, LossTerms, dense_loss, set_loss
from models.training.objective.matcher import Target


@dataclass(frozen=True, slots=True)
class HybridLosses:
    """`one_to_one` is DETR's own loss; the others are None where they are switched off.

    `distillation` is the unweighted distance of boxes, `distillation_weight` its share in the total.
    """

    one_to_one: LossTerms
    one_to_many: LossTerms | None = None
    dense: LossTerms | None = None
    distillation: Tensor | None = None
    distillation_weight: float = 0.0

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""
        total = torch.stack([terms.total for terms in self.parts().values()]).sum()
        return total if self.distillation is None else total + self.distillation_weight * self.distillation

    def parts(self) -> dict[str, LossTerms]:
        """Name the supervised losses that were computed."""
        named = {"one_to_one": self.one_to_one, "one_to_many": self.one_to_many, "dense": self.dense}
        return {name: terms for name, terms in named.items() if terms is not None}

    def scalars(self) -> dict[str, Tensor]:
        """Everything worth a curve, by name: the total and its terms before they are weighted."""
        named = {"total": self.total}
        for name, terms in self.parts().items():
            named |= {f"{name}/class": terms.class_, f"{name}/l1": terms.l1, f"{name}/giou": terms.giou}
        return named if self.distillation is None else named | {"distillation": self.distillation}


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


class TrainingDetr(nn.Module):
    """A Detr in training, with parts that are dropped afterwards: only `detr` is saved.

    `extra_queries` learned queries go through the same decoder, unseen by the model's own, and every ground
    truth is matched to `repeats` of them. `dense` adds a head on the encoder's tokens. 0 and False switch
    these off. `distillation` adds a second encoder pass, with the same weights and other attention. A
    `second_attention` takes exact attention's place in about half of the steps.
    """

    def __init__(
        self,
        detr: Detr,
        extra_queries: int,
        repeats: int,
        dense: bool,
        distillation: Distillation | None = None,
        second_attention: AttentionConfig | None = None,
    ) -> None:
        super().__init__()
        self.detr = detr
        self.repeats = repeats
        self.distillation = distillation if distillation and distillation.weight else None
        self.second_attention = second_attention
        dim = detr.config.hidden_dim
        self.extra_embed = nn.Embedding(extra_queries, dim) if extra_queries else None
        self.dense_head = DenseHead(dim, len(detr.config.labels) + 1) if dense else None

    def forward(self, batch: ImageBatch, targets: Sequence[Target]) -> HybridLosses:
        """Losses of B images of any sizes. One pass through the backbone serves every encoder pass."""
        tokens = self.detr.tokens(batch)
        memory = self.encode(tokens, self.attention())
        decoded = self.decode(memory)
        shares = self.detr.shares(batch)
        with torch.autocast(decoded.device.type, enabled=False):  # a box in bfloat16 is a pixel off
            full = at_least_float32(decoded)
            logits, boxes = self.detr.class_embed(full), self.detr.boxes(full, shares)
            dense = self.dense_loss(batch, memory, targets)
        own = self.detr.config.queries
        many = None
        if self.extra_embed is not None:
            many = set_loss(logits[:, :, own:], boxes[:, :, own:], targets, self.repeats)
        one = set_loss(logits[:, :, :own], boxes[:, :, :own], targets)
        if self.distillation is None:
            return HybridLosses(one, many, dense)
        approximate = self.approximate_boxes(tokens, self.distillation, shares)
        distance = self.distillation.loss(approximate, boxes[:, :, :own], logits[:, :, :own])
        return HybridLosses(one, many, dense, distance, self.distillation.weight)

    def attention(self) -> AttentionConfig:
        """Draw the attention of a step: exact, unless there is a second one."""
        if self.second_attention is None or torch.rand(()) < 0.5:
            return AttentionConfig.exact()
        return self.second_attention

    def encode(self, tokens: PackedTokens, attention: AttentionConfig) -> PackedTokens:
        """Run the encoder; approximate attention as it is when serving, in full precision."""
        encoded: Encoded = self.detr.transformer.encoder(tokens, *training_attention(attention))
        return encoded.tokens

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

    def approximate_boxes(self, tokens: PackedTokens, distillation: Distillation, shares: Tensor | None) -> Tensor:
        """boxes_cxcywh [layers, B, Q, 4] of the backbone's tokens, encoded with the attention to distil into.

        `shares` is what `Detr.boxes` takes.
        """
        memory = self.encode(tokens, distillation.attention)
        decoded = self.detr.transformer.decoder(self.detr.query_embed.weight, memory)
        with torch.autocast(decoded.device.type, enabled=False):
            return self.detr.boxes(at_least_float32(decoded), shares)

    def dense_loss(self, batch: ImageBatch, memory: PackedTokens, targets: Sequence[Target]) -> LossTerms | None:
        """Loss of the dense head, None without one."""
        if self.dense_head is None:
            return None
        values = at_least_float32(memory.values)
        guesses, image, token = [], 0, 0
        for images, height, width in size_runs(batch, self.detr.config):
            tokens = values[token : token + images * height * width].view(images, height * width, -1)
            centres = cell_centres(height, width).to(values)
            logits, boxes = self.dense_head(tokens, centres)
            guesses.append(DenseGuess(logits, boxes, centres, targets[image : image + images]))
            image += images
            token += images * height * width
        return dense_loss(guesses)


def size_runs(batch: ImageBatch, config: DetrConfig) -> Iterator[tuple[int, int, int]]:
    """Neighbours with one grid of tokens, in the order of the images: their number, the rows and the columns."""
    sizes = [token_grid(height, width, config) for height, width in batch.sizes]
    first = 0
    for index in range(1, len(sizes) + 1):
        if index == len(sizes) or sizes[index] != sizes[first]:
            yield index - first, *sizes[first]
            first = index


def cell_centres(height: int, width: int) -> Tensor:
    """Centres [height * width, 2] (x, y in 0..1) of a feature map's cells, row by row."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), -1)
