"""Inputs of the encoder's attention layers for one image, and the features after each layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.attention.exact import ExactAttention
from models.attention.layer_inputs import AttentionInputs
from models.attention.strategy import Attended
from models.detector import Detector
from models.detr.encoder import Encoder
from models.images import PackedTokens


@dataclass(slots=True)
class RecordingAttention:
    """Exact attention that records its inputs, one entry per layer."""

    exact: ExactAttention = field(default_factory=ExactAttention)
    layers: list[AttentionInputs] = field(default_factory=list)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend exactly with q, k, v [1, H, N, D]."""
        self.layers.append(AttentionInputs(q, k, v))
        return self.exact(q, k, v)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """Multiply-adds of exact attention."""
        return self.exact.multiply_adds(tokens, heads, head_dim, clusters)


def attention_inputs(detector: Detector, tokens: PackedTokens) -> list[AttentionInputs]:
    """Record the inputs of every attention layer for the tokens of one image, with exact attention in all layers."""
    return encoder_inputs(detector.detr.transformer.encoder, tokens)


@torch.inference_mode()
def encoder_inputs(encoder: Encoder, tokens: PackedTokens) -> list[AttentionInputs]:
    """Record the same of an encoder by itself."""
    recording = RecordingAttention()
    encoder(tokens, recording)
    return recording.layers


@torch.inference_mode()
def layer_features(detector: Detector, tokens: PackedTokens) -> list[Tensor]:
    """Return the tokens [N, d] that enter the encoder, then those after each layer, with exact attention."""
    features = [tokens.values]
    for layer in detector.detr.transformer.encoder.layers:
        tokens, _ = layer(tokens, ExactAttention())
        features.append(tokens.values)
    return features
