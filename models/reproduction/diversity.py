"""Diversity: how spread out the encoder's features are, layer by layer, and how many clusters ACT makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.data.samples import Samples
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs, layer_features
from models.images import PackedTokens
from models.reproduction.claim import Measured, Plan, Progress, markdown
from models.reproduction.inputs import calibration_layers, described, encoder_tokens, images_for
from models.reproduction.style import colour, label_lines, panels
from models.reproduction.sweep import PUBLISHED_R, family
from models.tuning.bucket_width import bucket_widths


class Diversity:
    """The claim that features become alike with depth, and that ACT adapts its number of clusters to it."""

    name = "diversity"

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return the images."""
        samples = _images(detector, plan)
        return {**described(detector, samples), "images": len(samples)}

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> dict[str, Any]:
        """Measure ACT as the model recommends it, as published, and at given ratios of clusters to tokens."""
        samples = _images(detector, plan)
        layers = calibration_layers(detector, samples)
        attentions = [detector.config.default_act]
        for L in (16, 32):
            attentions += [AttentionConfig.act(L, r) for r in (*bucket_widths(layers, L, (0.2, 0.5)), PUBLISHED_R)]
        attentions += [AttentionConfig.act(16, r, metric="key") for r in bucket_widths(layers, 16, (0.2,), "key")]
        return diversity(detector, encoder_tokens(detector, samples), list(dict.fromkeys(attentions)))

    def tables(self, measured: Measured) -> list[str]:
        """Return spread and C/N by layer."""
        results = measured["results"]
        layers = range(len(results["queries"]))
        rows = [
            ("features entering, distance to centre", results["features"]),
            ("queries, distance to centre", results["queries"]),
            *((f"C/N, {name}", ratios) for name, ratios in results["cluster_ratio"].items()),
        ]
        cells = [[name, *(f"{values[layer]:.2f}" for layer in layers)] for name, values in rows]
        heading = f"## Diversity by layer, {results['images']} images"
        return [heading, markdown(["", *(f"layer {layer}" for layer in layers)], cells)]

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return spread on the left, C/N on the right."""
        results = measured["results"]
        figure, (left, right) = panels(1, 2, 9.6, 3.3)
        ends = []
        for name, shade in (("features", colour("exact")), ("queries", colour("tangent"))):
            left.plot(results[name], "o-", color=shade)
            ends.append((name, len(results[name]) - 1, results[name][-1], shade))
        left.set_ylim(bottom=0)
        left.set_title("mean distance to the centre")
        left.set_xlabel("number of encoder layers passed")
        label_lines(left, ends)
        ends = []
        for name, ratios in results["cluster_ratio"].items():
            shade = colour(family(name))
            right.plot(ratios, "o-", color=shade)
            ends.append((name.removeprefix("act:").replace(",", ", "), len(ratios) - 1, ratios[-1], shade))
        right.set_ylim(0, 1)
        right.set_title("clusters of ACT over tokens, C/N")
        right.set_xlabel("encoder layer")
        label_lines(right, ends)
        return {self.name: figure}


@torch.inference_mode()
def diversity(
    detector: Detector, images: Iterable[PackedTokens], attentions: Sequence[AttentionConfig]
) -> dict[str, Any]:
    """Measure spread and clusters; means over images and, for queries and clusters, heads.

    `features` has layers + 1 entries, the first for what enters the encoder: mean distance of a token's features to
    their centre. `queries` has one a layer: the same of queries scaled by 1/sqrt(D), which are what is hashed, with
    exact attention. `cluster_ratio` has for each attention one C/N a layer.
    """
    tokens, features, queries = [], [], []
    ratios: dict[str, list[list[float]]] = {str(attention): [] for attention in attentions}
    for packed in images:
        layers = attention_inputs(detector, packed)
        tokens.append(layers[0].tokens)
        features.append([float(spread(values)) for values in layer_features(detector, packed)])
        queries.append([float(spread(layer.scaled_queries).mean()) for layer in layers])
        for attention in attentions:
            attend = make_attention(attention)
            counts = [attend(layer.q, layer.k, layer.v).cluster_counts for layer in layers]
            ratios[str(attention)].append([float(c.double().mean()) / tokens[-1] for c in counts if c is not None])
    return {
        "images": len(tokens),
        "tokens": float(np.mean(tokens)),
        "features": np.mean(features, axis=0).tolist(),
        "queries": np.mean(queries, axis=0).tolist(),
        "cluster_ratio": {name: np.mean(rows, axis=0).tolist() for name, rows in ratios.items()},
    }


def spread(points: Tensor) -> Tensor:
    """Mean Euclidean distance to the centre of points [..., N, D]: [...]."""
    distances: Tensor = (points - points.mean(-2, keepdim=True)).norm(dim=-1)
    return distances.mean(-1)


def _images(detector: Detector, plan: Plan) -> Samples:
    return images_for(plan, detector, min(plan.pages, 4 if plan.quick else 20))
