"""A model for detection that transformers runs, as a network of the detector, with our attention plugged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import deepcopy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from models.attention.factory import make_attention
from models.config import AttentionConfig, DetrConfig
from models.detr.canvas import canvas_shares, canvas_size, on_canvas
from models.detr.detr import DetrOutput
from models.detr.encoder import Encoded
from models.detr.multiply_adds import Gflops
from models.device import on_device
from models.images import ImageBatch, PackedTokens
from models.networks.layouts import Layout, Size
from models.networks.network import Family
from models.plugged import attention_settings

_PROBED: ContextVar[list[Tensor] | None] = ContextVar("probed", default=None)
"""Where the probed part puts its output, in a call of `TransformersNetwork.attend`."""


class TransformersNetwork:
    """A model for detection of transformers, whose encoder attends as a request says where that applies.

    `model` has attention plugged in (`models.plugged`) where `family` has modes other than exact. `backbone` is the
    part of it that makes maps: called with images [b, 3, h, w] and a mask, it gives pairs of a map and a mask, finest
    first.
    """

    def __init__(
        self, model: nn.Module, backbone: nn.Module, config: DetrConfig, family: Family, layout: Layout
    ) -> None:
        self.config = config
        self.family = family
        self._model = model
        self._layout = layout
        self._map_sizes = map_sizes(backbone)
        self._device = torch.device("cpu")
        self._half = False
        layout.probe(model).register_forward_hook(_probe)

    @property
    def module(self) -> nn.Module:
        """The model as transformers has it."""
        return self._model

    def make_ready(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move it, for inference only. For bfloat16 its weights stay float32, and its products are of bfloat16.

        Parts of some models of transformers compute in float32 whatever their weights are.
        """
        self._model.eval().requires_grad_(False).to(device)
        self._device = device
        self._half = dtype == torch.bfloat16

    def features(self, batch: ImageBatch) -> ImageBatch:
        """Return the batch itself: transformers' models run as a whole."""
        return batch

    def attend(
        self, features: ImageBatch, attention: AttentionConfig, thresholds: Sequence[float] | None = None
    ) -> DetrOutput:
        """Run the model, once for each size of images. Boxes are relative to the image, not to its canvas."""
        runs = [self._run(stack, attention) for stack in features.stacks]
        logits, boxes, tokens, counts = zip(*runs, strict=True)
        order = torch.tensor(features.order, device=logits[0].device)
        every_box = torch.cat(boxes)[order]
        shares = canvas_shares(features.sizes, self.config)
        if shares is not None:
            every_box = every_box * on_device(shares, every_box.device)
        clustered = [one for one in counts if one is not None]
        encoded = Encoded(_packed(tokens, features.order), torch.cat(clustered)[order] if clustered else None)
        return DetrOutput(torch.cat(logits)[order], every_box, encoded)

    def tokens(self, height: int, width: int) -> int:
        """How many tokens attend, as the layout counts them."""
        canvas = canvas_size(height, width, self.config)
        return self._layout.tokens(self._map_sizes(*canvas), (height, width), canvas)

    def gflops(
        self, attention: AttentionConfig, tokens: int, clusters_by_layer: Sequence[int], refined: int | None = None
    ) -> Gflops:
        """Of the encoder's layers that attend; the rest of the model is not counted, so there is no total."""
        config = self.config
        attended = 0
        if self.family.clusters:
            strategy = make_attention(attention)
            attended = sum(
                strategy.multiply_adds(tokens, config.heads, config.head_dim, clusters)
                for clusters in clusters_by_layer
            )
        layer = self._layout.layer_multiply_adds(tokens, config.hidden_dim, config.feedforward_dim)
        return Gflops(attended / 1e9, (attended + config.encoder_layers * layer) / 1e9, None)

    def _run(self, images: Tensor, attention: AttentionConfig) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Logits, boxes, tokens and cluster counts of images [b, 3, h, w] of one size."""
        image: Size = (images.shape[2], images.shape[3])
        canvas = canvas_size(*image, self.config)
        mask = images.new_zeros((len(images), *canvas), dtype=torch.int64)
        mask[:, : image[0], : image[1]] = 1
        probed: list[Tensor] = []
        token = _PROBED.set(probed)
        try:
            with attention_settings(attention) as run, torch.autocast(self._device.type, torch.bfloat16, self._half):
                output = self._model(pixel_values=on_canvas(images.float(), self.config), pixel_mask=mask)
        finally:
            _PROBED.reset(token)
        values = self._layout.kept(probed[-1], self._map_sizes(*canvas), image, canvas)
        counts = torch.stack(run.cluster_counts, 1) if run.cluster_counts else None
        return output.logits.float(), output.pred_boxes.float(), values, counts


def _probe(_: nn.Module, __: Any, output: Any) -> None:
    """Note what the probed part gave: a tensor, or the first of a tuple or of transformers' output."""
    probed = _PROBED.get()
    if probed is not None:
        probed.append(output if isinstance(output, Tensor) else output[0])


def _packed(by_stack: Sequence[Tensor], order: Sequence[int]) -> PackedTokens:
    """Tokens [b, N, d] of several stacks, image after image; their positions are transformers' own and stay there."""
    images = [values for stack in by_stack for values in stack]
    in_order = [images[index] for index in order]
    values = torch.cat(in_order)
    return PackedTokens(values, values.new_zeros(()).expand_as(values), tuple(len(one) for one in in_order))


def map_sizes(backbone: nn.Module) -> Callable[[int, int], tuple[Size, ...]]:
    """Return a function of an image's height and width that gives the size of each map of the backbone.

    It runs a copy that has shapes and no numbers: backbones round sizes each in their own way.
    """
    shapes = deepcopy(backbone).eval().to("meta")

    @lru_cache(maxsize=4096)
    def sizes(height: int, width: int) -> tuple[Size, ...]:
        with torch.inference_mode():
            images = torch.empty((1, 3, height, width), device="meta")
            maps = shapes(images, torch.ones((1, height, width), device="meta"))
        return tuple((one.shape[2], one.shape[3]) for one, _ in maps)

    return sizes
