"""Our own DETR as a network of the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from models.attention.factory import make_attention, make_merging
from models.attention.layer_inputs import AttentionInputs, inputs_of_layer
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detr.backbone import fold_batch_norms
from models.detr.canvas import token_grid
from models.detr.detr import Detr, DetrOutput, Features
from models.detr.mask_head import MaskHead
from models.detr.multiply_adds import Gflops, gflops
from models.images import ImageBatch
from models.networks.network import Family


class OwnNetwork:
    """A `Detr`, with a mask head or without; its batch norms are folded when it is made ready."""

    def __init__(self, detr: Detr, mask_head: MaskHead | None = None) -> None:
        self.detr = detr
        self.mask_head = mask_head
        self.family = Family("table-transformer" if detr.config.pre_norm else "detr", "act-detr")

    @property
    def config(self) -> DetrConfig:
        """That of the `Detr`."""
        return self.detr.config

    @property
    def module(self) -> nn.Module:
        """The `Detr`."""
        return self.detr

    def make_ready(self, device: torch.device, dtype: torch.dtype) -> None:
        """Fold batch norms, once, and move it; the backbone's memory becomes channels-last."""
        fold_batch_norms(self.detr)
        self.detr.eval().requires_grad_(False).to(device, dtype)
        self.detr.backbone.to(memory_format=torch.channels_last)
        if self.mask_head is not None:
            self.mask_head.eval().requires_grad_(False).to(device, dtype)

    def features(self, batch: ImageBatch, masks: bool = False) -> Features:
        """Run the backbone."""
        return self.detr.features(batch, masks=masks)

    def attend(
        self, features: Features, attention: AttentionConfig, thresholds: Sequence[float] | None = None
    ) -> DetrOutput:
        """Run encoder, decoder, heads and, if the model has one, the box refinement."""
        encoder = self.detr.transformer.encoder
        encoded = encoder(features.tokens, make_attention(attention.in_layers), make_merging(attention))
        return self.detr.decode(features, encoded, thresholds)

    def layer_inputs(self, batch: ImageBatch, attention: AttentionConfig, layer: int) -> AttentionInputs:
        """Run the backbone, without what the box refinement needs, and the encoder's layers before this one."""
        tokens, stands_for = self.detr.tokens(batch), None
        merging = make_merging(attention)
        if merging is not None:
            merged = merging(tokens)
            tokens, stands_for = merged.tokens, merged.stands_for
        encoder, strategy = self.detr.transformer.encoder, make_attention(attention.in_layers)
        inputs = inputs_of_layer(lambda until: encoder(tokens, until), strategy, layer)
        return replace(inputs, stands_for=stands_for)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """That of the feature map, without padding."""
        return token_grid(height, width, self.config)

    def tokens(self, height: int, width: int) -> int:
        """Positions of the feature map that are no padding."""
        rows, columns = self.grid(height, width)
        return rows * columns

    def gflops(
        self,
        attention: AttentionConfig,
        tokens: int,
        clusters_by_layer: Sequence[int],
        refined: int | None = None,
        merged_tokens: int | None = None,
    ) -> Gflops:
        """All but the backbone, counted from shapes and cluster counts."""
        strategy = make_attention(attention.in_layers)
        return gflops(self.config, strategy, tokens, clusters_by_layer, refined, merged_tokens)
