"""What an approximation does to the encoder's output, against what its attention costs: no ground truth needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.config import AttentionConfig
from models.detr.encoder import Encoder
from models.evaluation.attention_inputs import AttentionInputs, encoder_inputs
from models.evaluation.fidelity import relative_error
from models.images import PackedTokens


@dataclass(frozen=True, slots=True)
class OutputError:
    """Means over images of one size; errors are ‖approximate - exact‖ / ‖exact‖.

    `layers`: of each layer's attention output before its projection, given what exact attention was given there;
    `encoder`: of the encoder's output, all layers approximate. `clusters`: C, mean of layers and heads. `cost`:
    multiply-adds of attention over those of exact attention.
    """

    attention: AttentionConfig
    images: int
    tokens: float
    clusters: float
    cost: float
    layers: tuple[float, ...]
    encoder: float

    @property
    def attention_error(self) -> float:
        """Mean of the layers' errors."""
        return sum(self.layers) / len(self.layers)


def output_errors(
    encoder: Encoder, images: Iterable[PackedTokens], attentions: Sequence[AttentionConfig]
) -> list[OutputError]:
    """Measure every attention on the tokens that enter the encoder, each image packed by itself."""
    by_image = [_measure(encoder, tokens, attentions) for tokens in images]
    return [
        _mean(attention, list(rows)) for attention, rows in zip(attentions, zip(*by_image, strict=True), strict=True)
    ]


def attention_cost(attention: AttentionConfig, layers: Sequence[AttentionInputs], clusters: Sequence[int]) -> float:
    """Multiply-adds of attention in all layers over those of exact attention; `clusters`, the heads' sum a layer."""
    one = layers[0]
    exact = len(layers) * ExactAttention().multiply_adds(one.tokens, one.heads, one.head_dim)
    chosen = make_attention(attention)
    return sum(chosen.multiply_adds(one.tokens, one.heads, one.head_dim, c) for c in clusters) / exact


def size_for_error(errors: Sequence[float], sizes: Sequence[float], wanted: float) -> float | None:
    """The size at which the error comes down to `wanted`, log-log between neighbours; None: not within these."""
    pairs = sorted(zip(sizes, errors, strict=True))
    for (small, worse), (large, better) in pairwise(pairs):
        if worse >= wanted >= better and better > 0:
            share = math.log(worse / wanted) / math.log(worse / better) if worse > better else 0.0
            return float(small * (large / small) ** share)
    return None


@torch.inference_mode()
def _measure(encoder: Encoder, tokens: PackedTokens, attentions: Sequence[AttentionConfig]) -> list[OutputError]:
    inputs = encoder_inputs(encoder, tokens)
    outputs = [ExactAttention()(layer.q, layer.k, layer.v).values for layer in inputs]
    encoded = encoder(tokens, ExactAttention()).tokens.values
    return [_against(attention, encoder, tokens, inputs, outputs, encoded) for attention in attentions]


def _against(
    attention: AttentionConfig,
    encoder: Encoder,
    tokens: PackedTokens,
    inputs: Sequence[AttentionInputs],
    outputs: Sequence[Tensor],
    encoded: Tensor,
) -> OutputError:
    chosen = make_attention(attention)
    attended = [chosen(layer.q, layer.k, layer.v) for layer in inputs]
    counts = [0 if part.cluster_counts is None else int(part.cluster_counts.sum()) for part in attended]
    errors = [relative_error(part.values, exact) for part, exact in zip(attended, outputs, strict=True)]
    return OutputError(
        attention,
        1,
        inputs[0].tokens,
        sum(counts) / len(counts) / inputs[0].heads,
        attention_cost(attention, inputs, counts),
        tuple(errors),
        relative_error(encoder(tokens, chosen).tokens.values, encoded),
    )


def _mean(attention: AttentionConfig, rows: Sequence[OutputError]) -> OutputError:
    return OutputError(
        attention,
        len(rows),
        float(np.mean([row.tokens for row in rows])),
        float(np.mean([row.clusters for row in rows])),
        float(np.mean([row.cost for row in rows])),
        tuple(float(error) for error in np.mean([row.layers for row in rows], axis=0)),
        float(np.mean([row.encoder for row in rows])),
    )
