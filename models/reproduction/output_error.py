"""Output error: what an approximation does to the encoder's output, against its cost; no ground truth needed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice, pairwise
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.detector import Detector
from models.detr.encoder import Encoder
from models.evaluation.attention_inputs import encoder_inputs
from models.evaluation.fidelity import relative_error
from models.images import PackedTokens
from models.reproduction.claim import Measured, Plan, Progress, digits, markdown
from models.reproduction.inputs import calibration_layers, described, encoder_tokens, images_for
from models.reproduction.style import colour, label_lines, line, log_axis, panels
from models.reproduction.sweep import SweepGrid, attention_settings, family

GROWTH: Final = ("ACT, L = 16", "ACT, key-aware", "K-means", "K-means, key-aware", "tangent")
"""Families for which the growth of C with N is shown."""
TABLE_ERRORS: Final = (0.2, 0.1, 0.05)


class OutputErrors:
    """The claim that tangent attention has the smallest error for its cost, and that its C hardly grows with N."""

    name = "output-error"

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return images, sizes and grid."""
        count, grid = _effort(plan)
        samples = images_for(plan, detector, count)
        return {
            **described(detector, samples),
            "images": count,
            "sizes": plan.encoder_sizes(detector),
            "grid": asdict(grid),
        }

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> dict[str, Any]:
        """Measure every setting at every size."""
        count, grid = _effort(plan)
        rows = []
        for index, size in enumerate(plan.encoder_sizes(detector)):
            progress(index, len(plan.encoder_sizes(detector)))
            scaled = detector.with_sizes(size)
            samples = images_for(plan, scaled, count)
            _, *attentions = attention_settings(calibration_layers(scaled, islice(samples, 1)), grid)
            rows += output_errors(scaled.detr.transformer.encoder, encoder_tokens(scaled, samples), attentions)
        return {"rows": rows}

    def tables(self, measured: Measured) -> list[str]:
        """Return the clusters that a family needs for an error, by N."""
        by_tokens = _by_tokens(measured)
        cells = [
            [name, f"{error:.0%}", *(digits(clusters_needed(rows, name, error), 0) for rows in by_tokens.values())]
            for name in GROWTH
            for error in TABLE_ERRORS
        ]
        heading = "## Clusters a head needs for an attention output within an error of exact, by N"
        return [heading, markdown(["attention", "error", *(f"N = {tokens:.0f}" for tokens in by_tokens)], cells)]

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return error against cost for each N."""
        by_tokens = _by_tokens(measured)
        *_, last = by_tokens.values()
        names = [*dict.fromkeys(family(row["attention"]) for row in last)]
        figure, axes = panels(1, len(by_tokens), 2.2 + 2.4 * len(by_tokens), 3.4, sharey=True, sharex=True)
        for plot, (tokens, rows) in zip(axes, by_tokens.items(), strict=True):
            for name in names:
                line(plot, name, _costs_and_errors(rows, name))
            plot.set_title(f"N = {tokens:.0f}")
            log_axis(plot, "x", percent=True)
            log_axis(plot, "y", percent=True)
        axes[0].set_ylabel("error of the encoder's output")
        figure.supxlabel("multiply-adds of attention, of exact attention's", fontsize=9)
        label_lines(axes[-1], [(name, *_costs_and_errors(last, name)[-1], colour(name)) for name in names])
        return {self.name: figure}


def output_errors(
    encoder: Encoder, images: Iterable[PackedTokens], attentions: Sequence[AttentionConfig]
) -> list[dict[str, Any]]:
    """Measure every attention on the tokens that enter the encoder, each image packed by itself; means over images.

    `clusters`: C, mean of layers and heads. `cost`: multiply-adds of attention over those of exact attention. Errors
    are ‖approximate - exact‖ / ‖exact‖: `layers` of each layer's attention output before its projection, given the
    inputs of exact attention; `encoder` of the encoder's output, with all layers approximate.
    """
    by_image = [_errors_of_image(encoder, tokens, attentions) for tokens in images]
    return [
        {"attention": str(attention), "images": len(rows)}
        | {name: np.mean([row[name] for row in rows], axis=0).tolist() for name in rows[0]}
        for attention, *rows in zip(attentions, *by_image, strict=True)
    ]


def clusters_needed(rows: Sequence[Mapping[str, Any]], name: str, error: float) -> float | None:
    """Return the C at which a family's mean attention error falls to `error`, log-log between neighbours.

    None where the measured settings do not enclose it.
    """
    points = sorted(
        (row["clusters"], float(np.mean(row["layers"]))) for row in rows if family(row["attention"]) == name
    )
    for (small, worse), (large, better) in pairwise(points):
        if worse >= error >= better > 0:
            share = math.log(worse / error) / math.log(worse / better) if worse > better else 0.0
            return float(small * (large / small) ** share)
    return None


@torch.inference_mode()
def _errors_of_image(
    encoder: Encoder, tokens: PackedTokens, attentions: Sequence[AttentionConfig]
) -> list[dict[str, Any]]:
    inputs = encoder_inputs(encoder, tokens)
    shape = (inputs[0].tokens, inputs[0].heads, inputs[0].head_dim)
    exact_cost = len(inputs) * ExactAttention().multiply_adds(*shape)
    exact = [ExactAttention()(layer.q, layer.k, layer.v).values for layer in inputs]
    encoded = encoder(tokens, ExactAttention()).tokens.values
    rows = []
    for attend in map(make_attention, attentions):
        attended = [attend(layer.q, layer.k, layer.v) for layer in inputs]
        counts = [0 if part.cluster_counts is None else int(part.cluster_counts.sum()) for part in attended]
        errors = [relative_error(part.values, values) for part, values in zip(attended, exact, strict=True)]
        rows.append(
            {
                "tokens": inputs[0].tokens,
                "clusters": sum(counts) / len(counts) / inputs[0].heads,
                "cost": sum(attend.multiply_adds(*shape, count) for count in counts) / exact_cost,
                "layers": errors,
                "encoder": relative_error(encoder(tokens, attend).tokens.values, encoded),
            }
        )
    return rows


def _costs_and_errors(rows: Sequence[Any], name: str) -> list[tuple[float, float]]:
    return sorted((float(row["cost"]), float(row["encoder"])) for row in rows if family(row["attention"]) == name)


def _by_tokens(measured: Measured) -> dict[float, list[Any]]:
    rows: dict[float, list[Any]] = defaultdict(list)
    for row in measured["results"]["rows"]:
        rows[row["tokens"]].append(row)
    return dict(sorted(rows.items()))


def _effort(plan: Plan) -> tuple[int, SweepGrid]:
    ratios = (0.1, 0.25, 0.5)
    grid = SweepGrid(seeds=1, rounds=(16,), ratios=ratios, key_ratios=ratios, kmeans_ratios=(), merging=())
    if plan.quick:
        return 1, replace(grid, clusters=(8, 32))
    return 2, replace(grid, clusters=(4, 8, 16, 32, 64, 128, 256))
