"""What differs between the models for detection that transformers has, by model type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from models.networks.layouts import CoarsestMap, LastMap, Layout, SampledPoints
from models.postprocess import SOFTMAX, Scoring

BEST_PAIRS: Final = 100
"""Detections of an image with transformers' own image processors for Conditional DETR and Deformable DETR."""

STRETCHED: Final = {"size": {"height": 640, "width": 640}, "do_normalize": False, "do_pad": False}
"""What RT-DETR's image processor does where its file does not say."""

SAMPLES: Final = (
    "each query of its encoder looks at a few sampled points only, so that attention is exact and there is nothing for "
    "clusters to save"
)
SMALL_SHARE: Final = (
    "only one layer of its encoder attends, over the coarsest map: clusters save a small share of the time"
)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of the encoder's layers that attend, and the number of the decoder's queries."""

    hidden_dim: int
    heads: int
    layers: int
    feedforward_dim: int
    queries: int


@dataclass(frozen=True, slots=True)
class ForeignFamily:
    """One model type: how its configuration is read and its output is scored.

    The callables take transformers' configuration. `images` are the defaults of its image processor, where they are not
    DETR's. `multiple` is what the sides of its input have to divide by. `note` is what `Family.note` says.
    """

    shape: Callable[[Any], EncoderShape]
    layout: Callable[[Any], Layout]
    scoring: Callable[[Any], Scoring]
    images: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 1
    note: str | None = None


def _detr_shape(config: Any) -> EncoderShape:
    return EncoderShape(
        config.hidden_size, config.encoder_attention_heads, config.encoder_layers, config.encoder_ffn_dim,
        config.num_queries,
    )  # fmt: skip


def _hybrid_shape(config: Any) -> EncoderShape:
    return EncoderShape(
        config.encoder_hidden_dim, config.encoder_attention_heads, config.encoder_layers, config.encoder_ffn_dim,
        config.num_queries,
    )  # fmt: skip


def _one_map(_: Any) -> Layout:
    return LastMap()


def _scaled(_: Any) -> Layout:
    return LastMap(scaled_positions=True)


def _coarsest(config: Any) -> Layout:
    if len(config.encode_proj_layers) != 1 or config.encode_proj_layers[0] != len(config.encoder_in_channels) - 1:
        raise ValueError(f"encode_proj_layers {config.encode_proj_layers} must name the coarsest map, and no other")
    return CoarsestMap()


def _sampled(config: Any) -> Layout:
    return SampledPoints(config.num_feature_levels, config.encoder_n_points, config.encoder_attention_heads)


def _softmax(_: Any) -> Scoring:
    return SOFTMAX


def _best_pairs(_: Any) -> Scoring:
    return Scoring(BEST_PAIRS)


def _a_pair_a_query(config: Any) -> Scoring:
    return Scoring(config.num_queries)


_HYBRID: Final = ForeignFamily(_hybrid_shape, _coarsest, _a_pair_a_query, STRETCHED, 32, SMALL_SHARE)

FOREIGN_FAMILIES: Final = {
    "detr": ForeignFamily(_detr_shape, _one_map, _softmax),
    "table-transformer": ForeignFamily(_detr_shape, _one_map, _softmax),
    "conditional_detr": ForeignFamily(_detr_shape, _one_map, _best_pairs),
    "dab-detr": ForeignFamily(_detr_shape, _scaled, _best_pairs),
    "deformable_detr": ForeignFamily(_detr_shape, _sampled, _best_pairs, note=SAMPLES),
    "rt_detr": _HYBRID,
    "rt_detr_v2": _HYBRID,
    "d_fine": _HYBRID,
}
