"""DETR: backbone, packed encoder, decoder, heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from models.attention.strategy import AttentionStrategy
from models.config import DetrConfig
from models.detr.backbone import Backbone, NormLayer
from models.detr.decoder import Decoder
from models.detr.encoder import Encoded, Encoder
from models.detr.heads import BoxHead
from models.detr.position_encoding import sine_positions
from models.images import ImageBatch, PackedTokens


@dataclass(frozen=True, slots=True)
class DetrOutput:
    """What the model says of B images.

    `logits` [B, Q, classes + 1], the last being no-object; `boxes_cxcywh` [B, Q, 4] in 0..1, relative to each
    image; `encoded` the encoder's tokens and cluster counts.
    """

    logits: Tensor
    boxes_cxcywh: Tensor
    encoded: Encoded


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
        self.backbone = nn.Sequential(Backbone(config.backbone, norm))

    def forward(self, batch: ImageBatch, attention: AttentionStrategy) -> DetrOutput:
        """Detect in images of any sizes; answers come in the order the images came in."""
        encoded = self.encode(batch, attention)
        decoded = self.transformer.decoder(self.query_embed.weight, encoded.tokens)[-1]
        return DetrOutput(self.class_embed(decoded), self.bbox_embed(decoded), encoded)

    def encode(self, batch: ImageBatch, attention: AttentionStrategy) -> Encoded:
        """Backbone and encoder: images to packed tokens, in the order the images came in."""
        encoded: Encoded = self.transformer.encoder(self.tokens(batch), attention)
        return encoded

    def tokens(self, batch: ImageBatch) -> PackedTokens:
        """The backbone's feature maps, projected to the hidden width, row by row, image after image."""
        by_stack = []
        for images in batch.stacks:
            features = self.input_proj(self.backbone(images))
            height, width = features.shape[-2:]
            positions = sine_positions(height, width, self.config.hidden_dim, features.device, features.dtype)
            by_stack += [(values, positions) for values in features.flatten(2).transpose(1, 2)]
        images_in_order = [by_stack[place] for place in batch.order]
        return PackedTokens(
            torch.cat([values for values, _ in images_in_order]),
            torch.cat([positions for _, positions in images_in_order]),
            tuple(len(values) for values, _ in images_in_order),
        )
