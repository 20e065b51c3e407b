"""How many of a total of tangent clusters each encoder layer should get.

Tangent attention's multiply-adds are affine in C, alike in every layer: layers whose C sum to the same total cost the
same. What C brings in a layer is measured with all other layers exact. Squares of these errors are taken to add up, and
the total is shared so that their sum is least, found exactly by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.strategy import AttentionStrategy
from models.config import AttentionConfig
from models.detector import Detector
from models.detr.encoder import Encoded, Encoder
from models.evaluation.attention_inputs import layer_features
from models.evaluation.fidelity import relative_error
from models.images import PackedTokens

Errors = NDArray[np.floating[Any]]


@torch.inference_mode()
def errors_by_layer(detector: Detector, images: Iterable[PackedTokens], clusters: Sequence[int]) -> Errors:
    """Relative error of the encoder's output where one layer alone is tangent: [layers, len(clusters)].

    Root mean square over the images, each packed by itself.
    """
    squares = [np.square(_errors_of_image(detector, tokens, clusters)) for tokens in images]
    root: Errors = np.sqrt(np.mean(squares, axis=0))
    return root


def shared(errors: Errors, clusters: Sequence[int], total: int) -> tuple[int, ...]:
    """The C of each layer, summing to `total`, whose squared errors sum to the least.

    `errors` [layers, len(clusters)] at rising `clusters`; every C between the first and the last may be chosen, with
    errors log-log between those measured, and never rising. Raises ValueError for a total that these do not sum to.
    """
    low, high = clusters[0], clusters[-1]
    if not low * len(errors) <= total <= high * len(errors):
        raise ValueError(f"{len(errors)} layers of {low} to {high} clusters do not sum to {total}")
    least, choices = np.full(total + 1, np.inf), []
    least[0] = 0
    for squares in np.square(_at_every_c(errors, clusters)):
        sums = np.full((high - low + 1, total + 1), np.inf)
        for C in range(low, min(high, total) + 1):
            sums[C - low, C:] = least[: total + 1 - C] + squares[C - low]
        choices.append(low + sums.argmin(0))
        least = sums.min(0)
    found: list[int] = []
    for choice in reversed(choices):
        found.append(int(choice[total - sum(found)]))
    return tuple(reversed(found))


def predicted_error(errors: Errors, clusters: Sequence[int], chosen: Sequence[int]) -> float:
    """The encoder's error with a C for each layer, if the layers' squared errors add up."""
    at = _at_every_c(errors, clusters)
    return float(np.sqrt(sum(at[layer, C - clusters[0]] ** 2 for layer, C in enumerate(chosen))))


def encode(encoder: Encoder, tokens: PackedTokens, attentions: Sequence[AttentionStrategy], first: int = 0) -> Encoded:
    """The encoder from layer `first` on, with an attention of its own in every layer; clusters are not counted."""
    for layer, attention in zip(encoder.layers[first:], attentions, strict=True):
        tokens, _ = layer(tokens, attention)
    if encoder.norm is not None:
        tokens = tokens.with_values(encoder.norm(tokens.values))
    return Encoded(tokens, None)


def tangents(clusters: Sequence[int]) -> list[AttentionStrategy]:
    """Tangent attention with a C for each layer."""
    return [make_attention(AttentionConfig.tangent(C)) for C in clusters]


def _errors_of_image(detector: Detector, tokens: PackedTokens, clusters: Sequence[int]) -> list[list[float]]:
    encoder: Encoder = detector.detr.transformer.encoder
    kinds: list[AttentionStrategy] = [ExactAttention()] * len(encoder.layers)
    exact = encode(encoder, tokens, kinds).tokens.values
    found = []
    for layer, values in enumerate(layer_features(detector, tokens)[: len(kinds)]):
        entering = tokens.with_values(values)
        ended = [
            encode(encoder, entering, [*tangents([C]), *kinds[layer + 1 :]], layer).tokens.values for C in clusters
        ]
        found.append([relative_error(other, exact) for other in ended])
    return found


def _at_every_c(errors: Errors, clusters: Sequence[int]) -> Errors:
    """[layers, C - clusters[0]] for every C from the first to the last."""
    falling = np.log(np.maximum(np.minimum.accumulate(errors, axis=1), 1e-12))
    every = np.log(np.arange(clusters[0], clusters[-1] + 1))
    return np.exp([np.interp(every, np.log(clusters), layer) for layer in falling])
