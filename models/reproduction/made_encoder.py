"""Encoders of any shape with random weights that attend as sharply as a trained one, or as sharply as is wanted.

Random weights attend almost everywhere alike, which any approximation gets right. So three things of every layer are
set, by what is measured on a trained model:

- how sharp attention is: queries and keys are scaled until the effective share of keys (the exponential of a query's
  entropy over N, mean of queries and heads) is the wanted one;
- how much attention matters: the output projection is scaled until what attention adds, without its mean over the
  tokens, is as large against the tokens without theirs as in the trained layer;
- that it adds nothing to all tokens alike: the output's bias takes the mean away, which would else flatter every
  relative error.

All else, directions above all, is Xavier's, as in DETR before training. The tokens are a trained model's features of a
page, brought to another width by a fixed matrix with orthonormal rows: real features repeat themselves over a page.
What this cannot show is how alike heads are in trained layers, how bound to places, nor AP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from models.attention.exact import ExactAttention
from models.config import DetrConfig
from models.detector import Detector
from models.detr.canvas import token_grid
from models.detr.encoder import Encoder, EncoderLayer
from models.detr.position_encoding import sine_positions
from models.images import PackedTokens
from models.preprocess import PreparedImage

PROBED_QUERIES: Final = 128
"""Queries, evenly spaced, that the effective share of keys is measured on."""
SCALES: Final = (1e-3, 1e3)
"""Between which the factor of the logits is looked for."""


@dataclass(frozen=True, slots=True)
class Character:
    """Of one layer: effective share of keys in 0..1, and how much attention adds against its tokens."""

    share: float
    strength: float


@torch.inference_mode()
def characters(encoder: Encoder, tokens: PackedTokens) -> list[Character]:
    """Return what every layer does to the tokens of one image with exact attention."""
    found = []
    for layer in encoder_layers(encoder):
        entering = _attended(layer, tokens)
        added, _ = layer.self_attn.attend_packed(entering, ExactAttention())
        share = effective_share(*_queries_keys(layer, entering))
        found.append(Character(share, _spread(added) / _spread(tokens.values)))
        tokens, _ = layer(tokens, ExactAttention())
    return found


@torch.inference_mode()
def made_encoder(config: DetrConfig, tokens: PackedTokens, wanted: Sequence[Character], seed: int = 0) -> Encoder:
    """Return an encoder of this shape whose layers have these characters on the tokens [N, d] of one image."""
    encoder = _xavier(config, seed).to(tokens.values.device)
    for layer, character in zip(encoder_layers(encoder), wanted, strict=True):
        _set_share(layer, _attended(layer, tokens), character.share)
        _set_strength(layer, tokens, character.strength)
        tokens, _ = layer(tokens, ExactAttention())
    return encoder


@torch.inference_mode()
def widened_tokens(detector: Detector, image: PreparedImage, dim: int, seed: int = 0) -> PackedTokens:
    """Return a model's encoder tokens of one image in `dim` channels, no fewer than its own, with positions of `dim`.

    Distances between tokens keep their proportions; channels keep their root mean square.
    """
    tokens = detector.encoder_tokens(image)
    values = tokens.values
    own = values.shape[-1]
    drawn = torch.randn(dim, own, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.linalg.qr(drawn).Q.mT.to(values)
    grid = token_grid(image.pixels.shape[1], image.pixels.shape[2], detector.config)
    positions = sine_positions(*grid, dim, values.device, values.dtype)
    return PackedTokens(values @ rows * math.sqrt(dim / own), positions, tokens.lengths)


def effective_share(q: Tensor, k: Tensor, factor: float = 1.0) -> float:
    """Return the mean over queries and heads of exp(entropy) / N, for unscaled q, k [1, H, N, D].

    Logits are multiplied by `factor` first.
    """
    some = q[..., :: max(1, q.shape[-2] // PROBED_QUERIES), :].float()
    logits = some @ k.float().mT * (factor / math.sqrt(q.shape[-1]))
    logs = torch.log_softmax(logits, -1)
    entropy = -(logs.exp() * logs).sum(-1)
    return float(entropy.exp().mean()) / k.shape[-2]


@torch.no_grad()
def scale_attention(encoder: Encoder, queries: float, keys: float) -> None:
    """Multiply the queries and the keys of every layer, in place: logits are multiplied by both factors.

    With factors whose product is 1 the encoder computes what it did before.
    """
    for layer in encoder_layers(encoder):
        attention = layer.self_attn
        dim = attention.out_proj.weight.shape[0]
        for parameter in (attention.in_proj_weight, attention.in_proj_bias):
            parameter[:dim] *= queries
            parameter[dim : 2 * dim] *= keys


def encoder_layers(encoder: Encoder) -> list[EncoderLayer]:
    """Return its layers, first to last."""
    return [layer for layer in encoder.layers if isinstance(layer, EncoderLayer)]


def _xavier(config: DetrConfig, seed: int) -> Encoder:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        encoder = Encoder(config)
        for parameter in encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
    return encoder.eval().requires_grad_(False)


def _set_share(layer: EncoderLayer, tokens: PackedTokens, share: float) -> None:
    """Scale queries and keys alike; by bisection, since the share falls as the factor grows."""
    q, k = _queries_keys(layer, tokens)
    low, high = (math.log(scale) for scale in SCALES)
    for _ in range(24):
        middle = (low + high) / 2
        if effective_share(q, k, math.exp(middle)) > share:
            low = middle
        else:
            high = middle
    both = 2 * tokens.values.shape[-1]
    layer.self_attn.in_proj_weight[:both] *= math.exp((low + high) / 4)
    layer.self_attn.in_proj_bias[:both] *= math.exp((low + high) / 4)


def _set_strength(layer: EncoderLayer, tokens: PackedTokens, strength: float) -> None:
    """Scale the output projection, and let its bias take the mean of what attention adds away."""
    added, _ = layer.self_attn.attend_packed(_attended(layer, tokens), ExactAttention())
    factor = strength * _spread(tokens.values) / max(_spread(added), 1e-12)
    projection = layer.self_attn.out_proj
    projection.weight *= factor
    projection.bias.copy_((projection.bias - added.mean(0)) * factor)


def _attended(layer: EncoderLayer, tokens: PackedTokens) -> PackedTokens:
    """Return what the layer's attention is given."""
    return tokens.with_values(layer.norm1(tokens.values)) if layer.pre_norm else tokens


def _queries_keys(layer: EncoderLayer, tokens: PackedTokens) -> tuple[Tensor, Tensor]:
    q, k = layer.self_attn.project(tokens.values + tokens.positions, 0, 2)
    return layer.self_attn.split_heads(q[None]), layer.self_attn.split_heads(k[None])


def _spread(values: Tensor) -> float:
    """Root of the total variance of tokens [N, d]."""
    return float((values - values.mean(0)).square().sum(-1).mean().sqrt())
