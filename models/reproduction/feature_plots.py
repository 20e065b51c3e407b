"""Plots of what the encoder's features are like, made from a reproduction's JSON alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from models.clustering.collision import collision_probability
from models.config import AttentionConfig
from models.reproduction.plots import GREY, colour, heat, label_lines, panels
from models.reproduction.rivals import family


def diversity_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Spread of features and queries, and C/N, by layer."""
    results = part["results"]
    figure, (left, right) = panels(1, 2, 9.6, 3.3)
    layers = len(results["queries"])
    left.plot(range(layers + 1), results["features"], "o-", color=colour("exact"))
    left.plot(range(layers), results["queries"], "o-", color=colour("tangent"))
    left.set_ylim(bottom=0)
    left.set_title("mean distance to the centre")
    left.set_xlabel("after so many encoder layers")
    label_lines(
        left,
        [
            ("features", layers, results["features"][-1], colour("exact")),
            ("queries", layers - 1, results["queries"][-1], colour("tangent")),
        ],
    )
    ends = []
    for name, ratios in results["cluster_ratio"].items():
        shade = colour(family(AttentionConfig.parse(name)))
        right.plot(range(layers), ratios, "o-", color=shade)
        ends.append((name.removeprefix("act:").replace(",", ", "), layers - 1, ratios[-1], shade))
    right.set_ylim(0, 1)
    right.set_title("clusters of ACT over tokens, C/N")
    right.set_xlabel("encoder layer")
    label_lines(right, ends)
    yield "diversity.svg", figure


def redundancy_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Attention maps over the page, and how they come to differ with distance."""
    results = part["results"]
    shown = results["shown"]
    page = np.asarray(Image.open(io.BytesIO(base64.b64decode(results["page_jpeg"]))).convert("L"))
    figure, axes = panels(len(shown["maps"]), 3, 6.6, 2.75 * len(shown["maps"]))
    titles = ("a position", "its right neighbour", "a far position")
    for place, (layer, maps) in enumerate(shown["maps"].items()):
        for column, values in enumerate(maps):
            drawn = axes[3 * place + column]
            _map(drawn, page, values, shown, column)
            drawn.set_title(f"layer {layer}: {titles[column]}" if column == 0 else titles[column])
    yield "redundancy.png", figure
    figure, (plot,) = panels(1, 1, 6.4, 3.4)
    steps = results["steps"]
    last = len(results["map_distance"]) - 1
    for layer, distances in enumerate(results["map_distance"]):
        shade = str(0.7 - 0.6 * layer / max(last, 1))
        plot.plot(range(len(steps)), distances, "o-", color=shade)
    plot.set_xticks(range(len(steps)), [str(step) for step in steps])
    plot.set_xlabel("positions apart in a row or column of the grid")
    plot.set_title("how much two attention maps differ (0: equal, 1: disjoint)")
    plot.set_ylim(bottom=0)
    ends = [(layer, results["map_distance"][layer][-1], 0.7 - 0.6 * layer / max(last, 1)) for layer in range(last + 1)]
    label_lines(plot, [(f"layer {layer}", len(steps) - 1, y, str(shade)) for layer, y, shade in ends])
    yield "redundancy-distance.svg", figure


def sharing_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Measured chance to share a bucket over p(c)^L."""
    found = part["results"]
    figure, axes = panels(1, len(found), 2.5 * len(found), 3.0, sharey=True)
    for plot, one in zip(axes, found, strict=True):
        L, r = one["L"], one["r"]
        reach = max([point["distance"] for point in one["queries"] if point["measured"] > 0.005] or [1.0])
        distances = np.linspace(0, 1.15 * reach, 100)
        plot.plot(distances, [collision_probability(c, L, r) for c in distances], color=GREY, lw=1)
        for kind, shade, mark in (("synthetic", "#8fc1e3", "s"), ("queries", "#c2185b", "o")):
            inside = [point for point in one[kind] if point["distance"] <= 1.15 * reach]
            xs, ys = ([point[key] for point in inside] for key in ("distance", "measured"))
            plot.plot(xs, ys, mark, color=shade, ms=4, label=kind)
        plot.set_title(f"L = {L}, r = {r:g}")
        plot.set_ylim(0, 1)
        plot.set_xlim(0, 1.15 * reach)
    axes[0].set_ylabel("share of pairs in one bucket")
    axes[-1].text(0.95, 0.93, "encoder queries", color="#c2185b", transform=axes[-1].transAxes, ha="right", fontsize=8)
    axes[-1].text(0.95, 0.85, "drawn pairs", color="#4f9bcb", transform=axes[-1].transAxes, ha="right", fontsize=8)
    axes[-1].text(0.95, 0.77, "p(c)ᴸ", color="#555555", transform=axes[-1].transAxes, ha="right", fontsize=8)
    figure.supxlabel("distance c of two queries, scaled by 1/√D", fontsize=9)
    yield "sharing.svg", figure


def _map(axes: Axes, page: np.ndarray[Any, Any], values: Sequence[float], shown: Any, position: int) -> None:
    height, width = shown["height"], shown["width"]
    extent = (0.0, float(width), float(height), 0.0)
    axes.imshow(page, cmap="gray", extent=extent, vmin=-160, vmax=255, aspect="auto")
    grid = heat(values, height, width)
    axes.imshow(grid, cmap="Reds", extent=extent, alpha=0.8 * grid, vmin=0, vmax=1.1, aspect="auto")
    row, column = shown["positions"][position]
    axes.plot(column + 0.5, row + 0.5, "s", mfc="none", mec="#1144cc", ms=7, mew=1.6)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_box_aspect(height / width)
