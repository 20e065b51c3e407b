"""Collision rates: how often queries at a distance share a bucket, beside p(c)^L (ACT, section 3.3)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from models.clustering.collision import collision_probability
from models.data.samples import Samples
from models.detector import Detector
from models.reproduction.claim import Measured, Plan, Progress
from models.reproduction.inputs import calibration_layers, described, images_for
from models.reproduction.style import GREY, panels
from models.reproduction.sweep import PUBLISHED_R
from models.tuning.bucket_width import bucket_widths, hashed_queries
from models.tuning.collision_rates import collision_rates

SEEDS: Final = 16


class CollisionRates:
    """The claim that a model's queries collide as often as the theory says."""

    name = "collision-rates"

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return images, pairs and seeds."""
        samples, pairs = _images_and_pairs(detector, plan)
        return {**described(detector, samples), "pairs": pairs, "seeds": SEEDS}

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> list[dict[str, Any]]:
        """Measure pairs of the model's queries and drawn pairs, one round of hashing and several."""
        samples, pairs = _images_and_pairs(detector, plan)
        layers = calibration_layers(detector, samples)
        generator = torch.Generator().manual_seed(0)
        drawn = [query_pairs(hashed_queries(layer, "query"), pairs // len(layers), generator) for layer in layers]
        first, second = (torch.cat(part).double() for part in zip(*drawn, strict=True))
        max_distance = float((first - second).norm(dim=-1).quantile(0.9))
        synthetic = synthetic_pairs(first.shape[-1], pairs, max_distance, generator)
        widths = [(L, r) for L in (16, 32) for r in bucket_widths(layers, L, (0.5,))]
        return [
            {
                "L": L,
                "r": r,
                "queries": rates_by_distance(first, second, L, r),
                "synthetic": rates_by_distance(*synthetic, L, r),
            }
            for L, r in [(1, widths[0][1]), *widths, (32, PUBLISHED_R)]
        ]

    def tables(self, measured: Measured) -> list[str]:
        """Return none: the figure says it all."""
        return []

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return measured rates as points over p(c)^L as a line, a panel for each (L, r)."""
        panels_of = measured["results"]
        figure, axes = panels(1, len(panels_of), 2.5 * len(panels_of), 3.0, sharey=True)
        for plot, one in zip(axes, panels_of, strict=True):
            L, r = one["L"], one["r"]
            limit = 1.15 * max([point["distance"] for point in one["queries"] if point["measured"] > 0.005] or [1.0])
            distances = np.linspace(0, limit, 100)
            plot.plot(distances, [collision_probability(c, L, r) for c in distances], color=GREY, lw=1)
            for kind, shade, mark in (("synthetic", "#8fc1e3", "s"), ("queries", "#c2185b", "o")):
                inside = [point for point in one[kind] if point["distance"] <= limit]
                xs, ys = ([point[key] for point in inside] for key in ("distance", "measured"))
                plot.plot(xs, ys, mark, color=shade, ms=4, label=kind)
            plot.set_title(f"L = {L}, r = {r:g}")
            plot.set_ylim(0, 1)
            plot.set_xlim(0, limit)
        axes[0].set_ylabel("share of pairs in one bucket")
        legend = (("encoder queries", "#c2185b"), ("drawn pairs", "#4f9bcb"), ("p(c)ᴸ", "#555555"))
        for height, (text, shade) in zip((0.93, 0.85, 0.77), legend, strict=True):
            axes[-1].text(0.95, height, text, color=shade, transform=axes[-1].transAxes, ha="right", fontsize=8)
        figure.supxlabel("distance c of two queries, scaled by 1/√D", fontsize=9)
        return {self.name: figure}


def rates_by_distance(first: Tensor, second: Tensor, L: int, r: float, bins: int = 16) -> list[dict[str, float]]:
    """Bin pairs of rows of [P, D] by distance, nearest first, equally many a bin.

    Each bin has its number of `pairs`, their mean `distance`, and the `measured` and `predicted` rate of collisions;
    predicted is the mean of p(c)^L.
    """
    distances = (first - second).norm(dim=-1).double().cpu()
    rates = collision_rates(first, second, L, r, range(SEEDS))
    return [
        {
            "pairs": len(pairs),
            "distance": float(distances[pairs].mean()),
            "measured": float(rates[pairs].mean()),
            "predicted": sum(collision_probability(c, L, r) for c in distances[pairs].tolist()) / len(pairs),
        }
        for pairs in distances.argsort().chunk(bins)
    ]


def query_pairs(queries: Tensor, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs of rows of queries [H, N, D] from the same head: two tensors [P, D] of about `pairs` rows.

    Half are any two queries, half are near neighbours, because two queries drawn freely are seldom near.
    """
    heads, tokens, _ = queries.shape
    count = max(1, pairs // (2 * heads))
    chosen: list[tuple[Tensor, Tensor]] = []
    for own in queries.cpu():
        index = torch.randint(tokens, (count,), generator=generator)
        chosen.append((own[index], own[torch.randint(tokens, (count,), generator=generator)]))
        neighbours = torch.cdist(own[index], own).topk(min(9, tokens), largest=False).indices
        rank = torch.randint(1, neighbours.shape[1], (count, 1), generator=generator) if tokens > 1 else None
        chosen.append((own[index], own[neighbours.gather(1, rank)[:, 0]] if rank is not None else own[index]))
    return torch.cat([a for a, _ in chosen]), torch.cat([b for _, b in chosen])


def synthetic_pairs(dim: int, pairs: int, max_distance: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs [P, D] from a normal cloud, in any direction, at distances drawn evenly from 0 to `max_distance`."""
    start = 4 * torch.randn(pairs, dim, generator=generator, dtype=torch.float64)
    step = torch.randn(pairs, dim, generator=generator, dtype=torch.float64)
    distance = max_distance * torch.rand(pairs, 1, generator=generator, dtype=torch.float64)
    return start, start + distance * step / step.norm(dim=-1, keepdim=True)


def _images_and_pairs(detector: Detector, plan: Plan) -> tuple[Samples, int]:
    count, pairs = (1, 2000) if plan.quick else (4, 20_000)
    return images_for(plan, detector, count), pairs
