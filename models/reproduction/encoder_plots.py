"""Plots of clusters by layer and of the encoder of published size, made from a reproduction's JSON alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from models.config import AttentionConfig
from models.reproduction.plots import GREY, colour, label_lines, line, log_axis, panels
from models.reproduction.rivals import family
from models.reproduction.shared_clusters import BY_LAYER, UNIFORM

SHADES = {UNIFORM: GREY, BY_LAYER: colour("tangent")}


def layer_cluster_figures(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Figure]]:
    """Each size: what C brings in a layer, and one C for all against C by layer at equal cost."""
    if not parts:
        return
    figure, axes = panels(len(parts), 2, 9.6, 3.2 * len(parts))
    for part, left, right in zip(parts, axes[::2], axes[1::2], strict=True):
        results = part["results"]
        ends = []
        for layer, errors in enumerate(results["errors"]):
            depth = mpl.colors.to_hex(mpl.colormaps["plasma"](0.85 * layer / max(1, len(results["errors"]) - 1)))
            left.plot(results["clusters"], errors, "o-", color=depth)
            ends.append((f"layer {layer}", results["clusters"][-1], errors[-1], depth))
        log_axis(left, "x")
        log_axis(left, "y", percent=True)
        size = part["part"].removeprefix("layer-clusters-")
        left.set_title(f"{size}: output's error, one layer approximate")
        left.set_xlabel("C of that layer")
        label_lines(left, ends)
        for kind, shade in SHADES.items():
            points = [(row["cost"], row["encoder_error"]) for row in results["rows"] if row["kind"] == kind]
            right.plot(*zip(*points, strict=True), "o-", color=shade)
        log_axis(right, "x", percent=True)
        log_axis(right, "y", percent=True)
        right.set_title("output's error, all layers approximate, other images")
        right.set_xlabel("multiply-adds of attention, of exact attention's")
        last = {row["kind"]: row for row in results["rows"]}
        label_lines(right, [(kind, last[kind]["cost"], last[kind]["encoder_error"], SHADES[kind]) for kind in SHADES])
    yield "layer-clusters.svg", figure


def published_figures(part: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Error of the output against cost, for every sharpness of attention."""
    levels = part["results"]["levels"]
    names = [*dict.fromkeys(_family(row) for row in levels[0]["rows"])]
    figure, axes = panels(1, len(levels), 2.2 + 2.4 * len(levels), 3.4, sharex=True, sharey=True)
    for place, level in zip(axes, levels, strict=True):
        for name in names:
            line(place, name, _points(level, name))
        place.set_title(sharpness(level))
        log_axis(place, "x", percent=True)
        log_axis(place, "y", percent=True)
    axes[0].set_ylabel("error of the encoder's output")
    tokens = levels[0]["rows"][0]["tokens"]
    figure.supxlabel(f"multiply-adds of attention, of exact attention's; N = {tokens:.0f}", fontsize=9)
    label_lines(axes[-1], [(name, *_points(levels[-1], name)[-1], colour(name)) for name in names])
    yield "published-size.svg", figure


def sharpness(level: Mapping[str, Any]) -> str:
    """How much of the keys a query attends to, in words."""
    found = [layer["share"] for layer in level["found"]]
    if level["share"] is None:
        return f"as trained: {min(found):.0%} to {max(found):.0%} of the keys"
    return f"{level['share']:.0%} of the keys"


def _points(level: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    return sorted((row["cost"], row["encoder"]) for row in level["rows"] if _family(row) == name)


def _family(row: Mapping[str, Any]) -> str:
    return family(AttentionConfig.parse(row["attention"]))
