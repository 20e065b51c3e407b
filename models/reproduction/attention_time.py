"""How long the encoder's attention takes on an image's real queries, against PyTorch's fused exact attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from models.attention.factory import make_attention
from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.attention_inputs import AttentionInputs, attention_inputs
from models.images import PackedTokens
from models.measurement.timing import Timing, interleaved


@dataclass(frozen=True, slots=True)
class AttentionTime:
    """Milliseconds of attention in all layers for one image of `tokens` tokens; `ratio` to exact, of the medians."""

    attention: AttentionConfig
    tokens: int
    milliseconds: Timing
    ratio: float


@torch.inference_mode()
def attention_times(
    detector: Detector, tokens: PackedTokens, attentions: Sequence[AttentionConfig], repeats: int
) -> list[AttentionTime]:
    """Time exact attention and each of `attentions` in turns on what exact attention is given in every layer."""
    layers = attention_inputs(detector, tokens)
    rivals = [AttentionConfig.exact(), *(attention for attention in attentions if attention.mode != "exact")]
    calls = {str(attention): _call(attention, layers) for attention in rivals}
    timings = interleaved(calls, torch.device(detector.device), repeats)
    exact = timings["exact"].median
    return [
        AttentionTime(attention, layers[0].tokens, timing, timing.median / exact)
        for attention, timing in zip(rivals, timings.values(), strict=True)
    ]


def _call(attention: AttentionConfig, layers: Sequence[AttentionInputs]) -> Callable[[], object]:
    chosen = make_attention(attention)
    return lambda: [chosen(layer.q, layer.k, layer.v) for layer in layers]
