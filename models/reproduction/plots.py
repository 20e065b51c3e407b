"""The look of every plot: colours by kind of attention, labels at the lines, nothing that carries no information."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

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
    "tangent, 16 centres": "#e57ba5",
    "tangent, 4 centres": "#f2a9c4",
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
"""Least distance of two labels at the right edge, in heights of the axes."""

MOST_TICKED: Final = 300
"""Largest over smallest value of a logarithmic axis that has room for three numbers a decade."""


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
    """Write SVG or PNG by the file's ending; equal plots make equal files."""
    if file.suffix == ".svg":
        figure.savefig(file, metadata={"Date": None})
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


def colour(name: str) -> str:
    """The colour of a kind of attention, the same in every plot."""
    return COLOURS.get(name, GREY)


def line(axes: Axes, name: str, points: Sequence[tuple[float, float]], faint: bool = False) -> None:
    """A line with its points (x, y), in the colour of `name`; faint ones are there for comparison."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes.plot(xs, ys, "o-", color=colour(name), alpha=0.45 if faint else 1, zorder=2 if faint else 3, clip_on=False)


def label_lines(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write (text, x, y, colour) of each line at the right edge, level with its end as far as there is room.

    To be called when the axes' limits are final.
    """
    axes.get_xlim(), axes.get_ylim()  # makes lazy limits final
    to_axes = axes.transData + axes.transAxes.inverted()
    levels = [float(to_axes.transform((x, y))[1]) for _, x, y, _ in ends]
    order = sorted(range(len(ends)), key=levels.__getitem__)
    heights = spaced([levels[place] for place in order], LABEL_GAP)
    for place, height in zip(order, heights, strict=True):
        text, x, y, shade = ends[place]
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
    """Rising numbers moved apart to at least `gap`, as a block around where they were, not below 0."""
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
    """A logarithmic axis with plain numbers: at 1, 2 and 5 of each decade, where it is long at 1 alone."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1,) if high > MOST_TICKED * low else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if percent else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def heat(values: Sequence[float], height: int, width: int) -> np.ndarray[Any, Any]:
    """A map of height x width positions scaled to 0..1, its square root so that small weights show."""
    grid = np.sqrt(np.asarray(values, np.float64).reshape(height, width))
    return grid / max(float(grid.max()), 1e-12)
