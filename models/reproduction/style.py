"""The look of every plot: a colour for each attention family, labels at the lines, nothing without information."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from models.whole_file import whole_file

COLOURS: Final = {
    "exact": "#222222",
    "ACT, L = 32": "#08306b",
    "ACT, L = 24": "#2171b5",
    "ACT, L = 20": "#4f9bcb",
    "ACT, L = 16": "#8fc1e3",
    "ACT, key-aware": "#1b8a5a",
    "K-means": "#e08a1e",
    "K-means, key-aware": "#8c510a",
    "tangent": "#c2185b",
    "merge": "#6a3fb5",
    "tangent, 16 expansion points": "#e57ba5",
    "merging": "#5e3c99",
    "merging and tangent": "#a08cc8",
}
GREY: Final = "#8a8a8a"
STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.5,
    "svg.hashsalt": "act-detr",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}
LABEL_GAP: Final = 0.062
"""Minimum distance of two labels at the right edge, in heights of the axes."""

PNG_DPI: Final = 130
MAX_TICKED_RANGE: Final = 300
"""Maximum over minimum of a logarithmic axis that has room for three numbers a decade."""


def styled() -> AbstractContextManager[None]:
    """The style, for as long as a plot is drawn and saved."""
    return mpl.rc_context(STYLE)


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches and its axes row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def save(figure: Figure, file: Path) -> None:
    """Write an SVG or PNG file, by its ending; equal plots make equal files."""
    kind = file.suffix.removeprefix(".")
    with whole_file(file) as part:
        figure.savefig(part, format=kind, dpi=PNG_DPI, metadata={"Date" if kind == "svg" else "Software": None})


def colour(name: str) -> str:
    """Return the colour of an attention family, the same in every plot."""
    return COLOURS.get(name, GREY)


def line(axes: Axes, name: str, points: Sequence[tuple[float, float]], faint: bool = False) -> None:
    """Draw a line with its points (x, y) in the colour of `name`; faint lines are there for comparison."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes.plot(xs, ys, "o-", color=colour(name), alpha=0.45 if faint else 1, zorder=2 if faint else 3, clip_on=False)


def label_lines(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write (text, x, y, colour) of each line at the right edge, level with its end as far as there is room.

    Call it when the axes' limits are final.
    """
    axes.get_xlim(), axes.get_ylim()  # makes lazy limits final
    to_axes = axes.transData + axes.transAxes.inverted()
    levels = [float(to_axes.transform((x, y))[1]) for _, x, y, _ in ends]
    order = sorted(range(len(ends)), key=levels.__getitem__)
    heights = spaced([levels[index] for index in order], LABEL_GAP)
    for index, height in zip(order, heights, strict=True):
        text, x, y, shade = ends[index]
        axes.annotate(
            text,
            xy=(x, y),
            xytext=(1.05, height),
            xycoords="data",
            textcoords="axes fraction",
            color=shade,
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": shade, "lw": 0.5, "alpha": 0.5, "shrinkA": 1, "shrinkB": 3},
        )


def spaced(heights: Sequence[float], gap: float) -> list[float]:
    """Move rising numbers apart to at least `gap`, around where they were and not below 0."""
    out = list(heights)
    for _ in range(200):
        moved = False
        for low in range(len(out) - 1):
            short = gap - (out[low + 1] - out[low])
            if short > 1e-6:
                out[low] -= short / 2
                out[low + 1] += short / 2
                moved = True
        if not moved:
            break
    shift = max(0.0, -out[0]) if out else 0.0
    return [height + shift for height in out]


def log_axis(axes: Axes, which: str, percent: bool = False) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of each decade, or only at 1 where it is long."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1,) if high > MAX_TICKED_RANGE * low else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if percent else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())
