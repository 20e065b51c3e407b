"""How spread out the encoder's features are, layer by layer, and how many clusters ACT makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.attention.factory import make_attention
from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs, layer_features


@dataclass(frozen=True, slots=True)
class Diversity:
    """Means over images and, for queries and clusters, heads.

    `features` has layers + 1 entries, the first for what enters the encoder: mean distance of a token's features
    to their centre. `queries`, one a layer: the same of the queries scaled by 1/sqrt(D), which are what is hashed.
    `cluster_ratio`, for each attention one C/N a layer.
    """

    images: int
    tokens: float
    features: tuple[float, ...]
    queries: tuple[float, ...]
    cluster_ratio: dict[str, tuple[float, ...]]


def spread(points: Tensor) -> Tensor:
    """Mean Euclidean distance to the centre of points [..., N, D]: [...]."""
    distances: Tensor = (points - points.mean(-2, keepdim=True)).norm(dim=-1)
    return distances.mean(-1)


@torch.inference_mode()
def diversity(
    detector: Detector, images: Iterable[NDArray[np.uint8]], attentions: Sequence[AttentionConfig]
) -> Diversity:
    """Measure on uint8 RGB images [H, W, 3]; clusters on the queries that exact attention leads to."""
    features, queries, tokens = [], [], []
    ratios: dict[str, list[list[float]]] = {str(attention): [] for attention in attentions}
    for image in images:
        packed = detector.encoder_tokens(detector.preprocess(image))
        layers = attention_inputs(detector, packed)
        tokens.append(layers[0].tokens)
        features.append([float(spread(values)) for values in layer_features(detector, packed)])
        queries.append([float(spread(layer.scaled_queries).mean()) for layer in layers])
        for attention in attentions:
            attend = make_attention(attention)
            counts = [attend(layer.q, layer.k, layer.v).cluster_counts for layer in layers]
            ratios[str(attention)].append([float(c.double().mean()) / tokens[-1] for c in counts if c is not None])
    if not tokens:
        raise ValueError("there are no images to measure on")
    return Diversity(
        len(tokens),
        float(np.mean(tokens)),
        _column_means(features),
        _column_means(queries),
        {name: _column_means(rows) for name, rows in ratios.items()},
    )


def _column_means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.mean(rows, axis=0))
