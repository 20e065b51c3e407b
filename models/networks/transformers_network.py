"""A model for detection that transformers runs, as a network of the detector, with our attention plugged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.attention.factory import make_attention
from models.attention.layer_inputs import AttentionInputs, inputs_of_layer
from models.attention.strategy import AttentionStrategy
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detr.canvas import canvas_shares, canvas_size, on_canvas
from models.detr.detr import DetrOutput
from models.detr.encoder import Encoded
from models.detr.mask_head import MaskHead, Segmentable
from models.detr.multiply_adds import Gflops
from models.device import on_device
from models.images import ImageBatch, PackedTokens
from models.networks.layouts import LastMap, Layout, Size
from models.networks.network import Family
from models.plugged import attention_settings

TOKENS: Final = "tokens"
MAPS: Final = "maps"
PROJECTED: Final = "projected"
"""Names of parts whose output is probed."""

_PROBED: ContextVar[dict[str, Any] | None] = ContextVar("probed", default=None)
"""Where probed parts put their output by name, in a call of `TransformersNetwork.attend`."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """A batch, and whether masks are to be made of what it gives."""

    batch: ImageBatch
    masks: bool


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What a run gave for b images of one size: logits, boxes, tokens [b, N, d], cluster counts."""

    logits: Tensor
    boxes: Tensor
    tokens: Tensor
    counts: Tensor | None
    segmentable: tuple[Segmentable, ...]


class TransformersNetwork:
    """A model for detection of transformers, whose encoder attends as a request says where that applies.

    `model` has attention plugged in (`models.plugged`) where `family` has modes other than exact. `backbone` is the
    part of it that makes maps: called with images [b, 3, h, w] and a mask, it gives pairs of a map and a mask, finest
    first. `mask_head` is of models that attend over one map.
    """

    def __init__(
        self,
        model: nn.Module,
        backbone: nn.Module,
        config: DetrConfig,
        family: Family,
        layout: Layout,
        mask_head: MaskHead | None = None,
    ) -> None:
        self.config = config
        self.family = family
        self.mask_head = mask_head
        self._model = model
        self._layout = layout
        self._map_sizes = map_sizes(backbone)
        self._device = torch.device("cpu")
        self._half = False
        layout.probe(model).register_forward_hook(_probe(TOKENS))
        if mask_head is not None:
            backbone.register_forward_hook(_probe(MAPS))
            model.get_submodule("model.input_projection").register_forward_hook(_probe(PROJECTED))

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
        if self.mask_head is not None:
            self.mask_head.eval().requires_grad_(False).to(device, dtype)

    def features(self, batch: ImageBatch, masks: bool = False) -> _Inputs:
        """Return the batch itself: transformers' models run as a whole."""
        return _Inputs(batch, masks)

    def attend(
        self, features: _Inputs, attention: AttentionConfig, thresholds: Sequence[float] | None = None
    ) -> DetrOutput:
        """Run the model, once for each size of images. Boxes are relative to the image, not to its canvas."""
        batch = features.batch
        runs = [self._run(stack, attention, features.masks) for stack in batch.stacks]
        order = torch.tensor(batch.order, device=self._device)
        boxes = torch.cat([run.boxes for run in runs])[order]
        shares = canvas_shares(batch.sizes, self.config)
        if shares is not None:
            boxes = boxes * on_device(shares, boxes.device)
        clustered = [run.counts for run in runs if run.counts is not None]
        tokens = _packed([run.tokens for run in runs], batch.order)
        encoded = Encoded(tokens, torch.cat(clustered)[order] if clustered else None)
        segmentable = [one for run in runs for one in run.segmentable]
        return DetrOutput(
            torch.cat([run.logits for run in runs])[order],
            boxes,
            encoded,
            segmentable=tuple(segmentable[index] for index in batch.order) if segmentable else (),
        )

    def layer_inputs(self, batch: ImageBatch, attention: AttentionConfig, layer: int) -> AttentionInputs:
        """Run the model until its encoder reaches the layer."""
        (images,) = batch.stacks

        def run(strategy: AttentionStrategy) -> None:
            with attention_settings(attention) as settings:
                settings.strategy = strategy
                self._forward(images)

        return inputs_of_layer(run, make_attention(attention), layer)

    def grid(self, height: int, width: int) -> Size | None:
        """As the layout has it."""
        canvas = canvas_size(height, width, self.config)
        return self._layout.grid(self._map_sizes(*canvas), (height, width), canvas)

    def tokens(self, height: int, width: int) -> int:
        """How many tokens attend, as the layout counts them."""
        canvas = canvas_size(height, width, self.config)
        return self._layout.tokens(self._map_sizes(*canvas), (height, width), canvas)

    def gflops(
        self,
        attention: AttentionConfig,
        tokens: int,
        clusters_by_layer: Sequence[int],
        refined: int | None = None,
        merged_tokens: int | None = None,
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

    def _run(self, images: Tensor, attention: AttentionConfig, masks: bool) -> _Outputs:
        """Run the model on images [b, 3, h, w] of one size."""
        image: Size = (images.shape[2], images.shape[3])
        canvas = canvas_size(*image, self.config)
        probed: dict[str, Any] = {}
        token = _PROBED.set(probed)
        try:
            with attention_settings(attention) as run:
                output = self._forward(images)
        finally:
            _PROBED.reset(token)
        values = self._layout.kept(_first(probed[TOKENS]), self._map_sizes(*canvas), image, canvas)
        counts = torch.stack(run.cluster_counts, 1) if run.cluster_counts else None
        segmentable = self._segmentable(output, values, probed, image, canvas) if masks else ()
        return _Outputs(output.logits.float(), output.pred_boxes.float(), values, counts, segmentable)

    def _forward(self, images: Tensor) -> Any:
        """What the model gives for images [b, 3, h, w] of one size, on their canvas."""
        height, width = images.shape[2:]
        mask = images.new_zeros((len(images), *canvas_size(height, width, self.config)), dtype=torch.int64)
        mask[:, :height, :width] = 1
        with torch.autocast(self._device.type, torch.bfloat16, self._half):
            return self._model(pixel_values=on_canvas(images.float(), self.config), pixel_mask=mask)

    def _segmentable(
        self, output: Any, tokens: Tensor, probed: dict[str, Any], image: Size, canvas: Size
    ) -> tuple[Segmentable, ...]:
        """What masks of images of one size are made of: the parts of the model that transformers' mask head reads."""
        grid = LastMap.shown(self._map_sizes(*canvas)[-1], image, canvas)
        finest, finer, fine = (one for one, _ in probed[MAPS][:3])
        parts = zip(output.last_hidden_state, tokens, probed[PROJECTED], fine, finer, finest, strict=True)
        return tuple(
            Segmentable(queries, memory.T.reshape(-1, *grid), projected, tuple(levels))
            for queries, memory, projected, *levels in parts
        )


def _probe(name: str) -> Callable[[nn.Module, Any, Any], None]:
    """Return a hook that notes what a part gave, under a name."""

    def note(_: nn.Module, __: Any, output: Any) -> None:
        probed = _PROBED.get()
        if probed is not None:
            probed[name] = output

    return note


def _first(output: Any) -> Tensor:
    """A tensor, or the first of a tuple or of transformers' output."""
    first: Tensor = output if isinstance(output, Tensor) else output[0]
    return first


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
