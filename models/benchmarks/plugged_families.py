"""The models that `models.benchmarks.plugged` measures: random weights, at the size that each family usually has.

Random weights attend almost evenly: the logits of a query hardly differ. `sharpen` scales each layer's keys until they
differ as much as in trained layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from models.data.pages.held_out import held_out_pages
from models.detr.position_encoding import sine_positions

SHARPNESS: Final = 2.0
"""Standard deviation of a query's logits, root mean square over queries. Layers of pages-small and pages-large have 0.9
to 3.0, on average 1.9 and 1.8."""
SAMPLED_QUERIES: Final = 256

DETR_SIZE: Final = (800, 1066)
"""Height and width that DETRs resize images to, at most: 25 x 34 tokens."""
SMALL_SIZE: Final = (256, 320)
SMALL_RESNET: Final[dict[str, Any]] = {
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 32],
    "depths": [1, 1, 1, 1],
}
SMALL_DETR: Final[dict[str, Any]] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 5,
}
SMALL_VIT: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 8,
}


@dataclass(frozen=True, slots=True)
class Family:
    """A model and the inputs to measure it with. `features` names the module that brings features to the encoder."""

    model: nn.Module
    inputs: dict[str, Tensor]
    features: str | None = None


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Of one layer: the standard deviation of logits, as in `SHARPNESS`, and the mean entropy of attention in nats."""

    logits: float
    entropy: float


class TorchEncoderLayer(nn.Module):
    """An encoder layer of a DETR in plain torch: positions are added to queries and keys."""

    def __init__(self, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens [N, B, d] and positions [N, 1, d] to tokens [N, B, d]."""
        placed = tokens + positions
        tokens = self.norm1(tokens + self.self_attn(placed, placed, value=tokens)[0])
        out: Tensor = self.norm2(tokens + self.linear2(self.linear1(tokens).relu()))
        return out


class TorchEncoder(nn.Module):
    """A DETR's encoder in plain torch."""

    def __init__(self, layers: int, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TorchEncoderLayer(dim, heads, feedforward) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens [N, B, d] and positions [N, 1, d] to tokens [N, B, d]."""
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens


def page_pixels(height: int, width: int) -> dict[str, Tensor]:
    """Return a rendered page as pixels [1, 3, height, width], normalised to about 0 and 1."""
    (page,) = held_out_pages(1, height, width)
    pixels = torch.from_numpy(np.asarray(page.image).transpose(2, 0, 1).copy())[None].float()
    return {"pixel_values": (pixels / 255 - 0.45) / 0.225}


def detr_like(kind: str, quick: bool, resnet: dict[str, Any] | None = None) -> Family:
    """One of transformers' DETRs, with their own ResNet-50 unless another is given."""
    import transformers

    sizes = (SMALL_RESNET if quick else resnet or {}) | {"out_features": ["stage4"]}
    fields: dict[str, Any] = {"backbone_config": transformers.ResNetConfig(**sizes)} | (SMALL_DETR if quick else {})
    if kind == "DabDetr" and quick:
        fields["hidden_size"] = fields.pop("d_model")
    config = getattr(transformers, f"{kind}Config")(**fields)
    model = getattr(transformers, f"{kind}ForObjectDetection")(config)
    return Family(model, page_pixels(*(SMALL_SIZE if quick else DETR_SIZE)), "model.input_projection")


def rt_detr(quick: bool) -> Family:
    """RT-DETR with its ResNet-50: one layer attends, to the coarsest of three maps."""
    import transformers

    small = {name: value for name, value in SMALL_DETR.items() if name != "encoder_layers"} | {
        "encoder_hidden_dim": 32,
        "encoder_in_channels": SMALL_RESNET["hidden_sizes"][1:],
        "decoder_in_channels": [32] * 3,
    }
    stages = (SMALL_RESNET if quick else {}) | {"out_features": ["stage2", "stage3", "stage4"]}
    backbone = transformers.RTDetrResNetConfig(**stages)
    config = transformers.RTDetrConfig(backbone_config=backbone, **small if quick else {})
    size = SMALL_SIZE if quick else (640, 640)
    return Family(transformers.RTDetrForObjectDetection(config), page_pixels(*size), "model.encoder_input_proj.2.0")


def vision_transformer(kind: str, side: int, quick: bool) -> Family:
    """A vision transformer of transformers for square images."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SMALL_VIT if quick else {})
    model = getattr(transformers, f"{kind}Model")(config)
    return Family(model, page_pixels(*[config.image_size if quick else side] * 2))


def torch_encoder(height: int, width: int, quick: bool) -> Family:
    """An encoder in plain torch over a map of random features that are alike where they are near."""
    sizes = (2, 32, 4, 32) if quick else (6, 256, 8, 2048)
    height, width = (8, 10) if quick else (height, width)
    dim = sizes[1]
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, dim, height // 4, width // 4, generator=generator)
    smooth = interpolate(coarse, (height, width), mode="bicubic")
    tokens = (smooth + 0.3 * torch.randn(smooth.shape, generator=generator)).flatten(2).permute(2, 0, 1)
    positions = sine_positions(height, width, dim, torch.device("cpu"), torch.float32)
    return Family(TorchEncoder(*sizes), {"tokens": tokens.contiguous(), "positions": positions.view(-1, 1, dim)})


RESNET18: Final[dict[str, Any]] = {
    "layer_type": "basic",
    "hidden_sizes": [64, 128, 256, 512],
    "depths": [2, 2, 2, 2],
}
FAMILIES: Final[dict[str, Callable[[bool], Family]]] = {
    "DETR": partial(detr_like, "Detr"),
    "Conditional DETR": partial(detr_like, "ConditionalDetr"),
    "DAB-DETR": partial(detr_like, "DabDetr"),
    "Table Transformer": partial(detr_like, "TableTransformer", resnet=RESNET18),
    "RT-DETR": rt_detr,
    "ViT": partial(vision_transformer, "ViT", 224),
    "DINOv2": partial(vision_transformer, "Dinov2", 518),
    "torch encoder": partial(torch_encoder, 25, 34),
    "torch encoder, DC5": partial(torch_encoder, 50, 68),
}
"""What makes each family's model, small if its argument is True."""


def randomise(model: nn.Module) -> None:
    """Draw weights that keep the size of what they get, and position embeddings of half that size."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            std = 0.5 if "position_embeddings" in name else weight[0].numel() ** -0.5
            nn.init.normal_(weight, std=std, generator=generator)


@torch.no_grad()
def sharpen(family: Family, attention: Sequence[str], run: Callable[[], object]) -> list[Sharpness]:
    """Scale the keys of the named attention modules, layer after layer, until their logits have `SHARPNESS`.

    `run` runs the model once. Features that come to the encoder are brought to a standard deviation of 1.
    """
    measured: list[Sharpness] = []
    handles = []
    if family.features is not None:
        handles.append(family.model.get_submodule(family.features).register_forward_hook(_standardise))
    for name in attention:
        module = family.model.get_submodule(name)
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_pre_hook(partial(_sharpen_multihead, measured)))
        else:
            handles += _sharpen_projections(module, measured)
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return measured


def _standardise(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    """Divide a convolution's weight and bias, and its output, by the output's standard deviation."""
    scale = float(output.std())
    for parameter in module.parameters():
        parameter.div_(scale)
    return output / scale


def _sharpen_projections(module: Any, measured: list[Sharpness]) -> list[Any]:
    """Hooks for a module with `q_proj` and `k_proj`, which it calls in this order."""
    caught: list[Tensor] = []

    def keep(_projection: nn.Module, _inputs: object, queries: Tensor) -> None:
        caught.append(queries)

    def scale(projection: nn.Module, _inputs: object, keys: Tensor) -> Tensor:
        factor = _factor(caught.pop(), keys, module.head_dim, measured)
        for parameter in projection.parameters():
            parameter.mul_(factor)
        return keys * factor

    return [module.q_proj.register_forward_hook(keep), module.k_proj.register_forward_hook(scale)]


def _sharpen_multihead(measured: list[Sharpness], module: nn.MultiheadAttention, inputs: tuple[Tensor, ...]) -> None:
    """Before `torch.nn.MultiheadAttention` is called with the sequence first."""
    dim = module.embed_dim
    rows = slice(dim, 2 * dim)
    weight, bias = module.in_proj_weight, module.in_proj_bias
    query, key = (x.transpose(0, 1) for x in inputs[:2])
    queries, keys = linear(query, weight[:dim], bias[:dim]), linear(key, weight[rows], bias[rows])
    factor = _factor(queries, keys, module.head_dim, measured)
    weight[rows] *= factor
    bias[rows] *= factor


def _factor(queries: Tensor, keys: Tensor, head_dim: int, measured: list[Sharpness]) -> float:
    """By how much to multiply keys [1, N, H * D], and note how sharp they are then; queries [1, N, H * D]."""
    q, k = (x[0].view(x.shape[1], -1, head_dim).transpose(0, 1) for x in (queries, keys))
    logits = q[:, :: math.ceil(q.shape[1] / SAMPLED_QUERIES)] @ k.mT / head_dim**0.5
    factor = SHARPNESS / float(logits.var(-1).mean().sqrt())
    logits = (factor * logits).double()
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
    measured.append(Sharpness(float(logits.var(-1).mean().sqrt()), float(entropy)))
    return factor
