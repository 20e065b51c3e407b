"""The plots of a trade-off: AP and edge drift over what attention costs, and over what the whole encoder costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from models.reproduction.style import colour, label_lines, line, log_axis, panels
from models.reproduction.tradeoff_settings import Setting

MAX_DRAWN_COST: Final = 2.0
"""More expensive settings, over exact attention, are only in the tables."""
PAPER: Final = ("ACT, L = 32", "ACT, L = 24", "ACT, L = 20", "ACT, L = 16", "K-means")
BEYOND: Final = ("ACT, L = 16", "ACT, key-aware", "K-means, key-aware", "tangent", "tangent, 16 expansion points")
WHOLE: Final = ("ACT, L = 16", "ACT, key-aware", "K-means, key-aware", "tangent", "merging", "merging and tangent")
DRIFT: Final = "how far a box's edges move, pixels"

Points = list[tuple[float, float]]


def over_attention(settings: Sequence[Setting], images: int) -> Figure:
    """Draw AP and edge drift over attention's cost: the paper's attention on the left, the others on the right."""
    figure, axes = panels(2, 2, 9.6, 6.4, sharex=True, sharey="row")
    drawn = [
        _draw(plot, settings, names, field, "cost")
        for plot, (field, names) in zip(axes, product(("ap", "edge_drift"), (PAPER, BEYOND)), strict=True)
    ]
    for plot in axes[2:]:
        log_axis(plot, "x", percent=True)
        log_axis(plot, "y")
        plot.set_xlabel("multiply-adds of attention, of exact attention's")
    axes[0].set_title(_ap_title(settings, images))
    axes[1].set_title("the same, beyond the paper")
    axes[2].set_title(DRIFT)
    _label(zip(axes, drawn, strict=True))
    return figure


def over_encoder(settings: Sequence[Setting], images: int) -> Figure:
    """Draw AP and edge drift over the encoder's cost, as merging also shrinks projections and feed-forward."""
    figure, axes = panels(1, 2, 9.6, 3.6)
    drawn = [
        _draw(plot, settings, WHOLE, field, "encoder_cost")
        for plot, field in zip(axes, ("ap", "edge_drift"), strict=True)
    ]
    log_axis(axes[1], "y")
    for plot in axes:
        plot.set_xlim(left=0)
        plot.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        plot.set_xlabel("multiply-adds of the encoder, of exact attention's")
    axes[0].set_title(_ap_title(settings, images))
    axes[1].set_title(DRIFT)
    _label(zip(axes, drawn, strict=True))
    return figure


def _draw(plot: Axes, settings: Sequence[Setting], names: Sequence[str], field: str, cost: str) -> dict[str, Points]:
    """Draw a line for each family that has points, and return the points; the paper's are faint among others."""
    if field == "ap":
        plot.axhline(100 * settings[0]["ap"], color=colour("exact"), lw=0.8)
    lines = {name: points for name in names if (points := _points(settings, name, field, cost))}
    for name, points in lines.items():
        line(plot, name, points, faint=names is not PAPER and name in PAPER)
    return lines


def _points(settings: Sequence[Setting], name: str, field: str, cost: str) -> Points:
    scale = 100 if field == "ap" else 1
    own = [one for one in settings if one.family == name and one[cost] <= MAX_DRAWN_COST]
    return sorted((one[cost], scale * one[field]) for one in own if one[field] is not None)


def _label(drawn: Iterable[tuple[Axes, dict[str, Points]]]) -> None:
    for plot, lines in drawn:
        label_lines(plot, [(name, *points[-1], colour(name)) for name, points in lines.items()])


def _ap_title(settings: Sequence[Setting], images: int) -> str:
    exact = settings[0]
    return f"AP (exact: {100 * exact['ap']:.1f}); N = {exact['tokens']:.0f}, {images} images"
