"""The plot of accuracy against time, from the JSON of `models.reproduction.accuracy_time`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from models.reproduction.style import GREY, colour, log_axis, panels

LOOKS: Final = {
    "exact": (colour("exact"), "-"),
    "tangent C = 16": (colour("tangent"), "-"),
    "merge, half": (colour("merge"), "--"),
    "merge, three quarters": (colour("merge"), "-"),
    "ACT": (colour("ACT, L = 24"), "-"),
    "ACT, twice the r": (colour("ACT, L = 16"), "--"),
}
"""Colour and dashes of every line."""
MARKERS: Final = ("o", "s", "^", "D")
"""Of the models, in their order."""
FRONT: Final = "#e4e4e4"
MAX_BELOW_BEST: Final = 15.0
"""Settings whose AP is further below the best, in points of 100, are only in the JSON."""
LEFT_MARGIN: Final = 0.62
"""The axis of time begins at this share of the shortest: for the first label."""


@dataclass(frozen=True, slots=True)
class Point:
    """A model at a size (shortest side in pixels) with an attention: median milliseconds of a page, AP of 100."""

    model: str
    size: int
    line: str
    milliseconds: float
    ap: float

    def beaten_by(self, other: Point) -> bool:
        """Return whether another one is better in at most the time, or as good in less."""
        better, faster = other.ap - self.ap, self.milliseconds - other.milliseconds
        return min(better, faster) >= 0 and max(better, faster) > 0

    @property
    def label(self) -> str:
        """Return what is written at the point: model and size, then the attention."""
        return f"{self.model.removeprefix('pages-')} {self.size}, {self.line}"


def points_of(document: Mapping[str, Any]) -> list[Point]:
    """Return the points of a document. Raises ValueError where its times have not been measured yet."""
    if "timed" not in document:
        raise ValueError("the run was stopped before the times were measured: run it again, without --draw-only")
    return [
        Point(row["model"], row["size"], row["line"], row["milliseconds"]["median"], 100 * row["ap"])
        for row in document["rows"]
    ]


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that none beats, by rising time."""
    unbeaten = [point for point in points if not any(point.beaten_by(other) for other in points)]
    return sorted(unbeaten, key=lambda point: point.milliseconds)


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw AP against time: a line for each model and attention through its sizes, the front behind them."""
    points = points_of(document)
    least = max(point.ap for point in points) - MAX_BELOW_BEST
    front = [point for point in front_of(points) if point.ap >= least]
    models = list(dict.fromkeys(point.model for point in points))
    figure, (axes,) = panels(1, 1, 10.0, 5.0)
    axes.step(*_coordinates(front), where="post", color=FRONT, lw=7, zorder=1)
    for (model, marker), (line, (shade, dashes)) in product(zip(models, MARKERS, strict=False), LOOKS.items()):
        own = [point for point in points if (point.model, point.line) == (model, line) and point.ap >= least]
        axes.plot(*_coordinates(own), color=shade, ls=dashes, marker=marker, ms=5, zorder=3)
    axes.set_xlim(left=LEFT_MARGIN * min(point.milliseconds for point in points))
    log_axis(axes, "x")
    timed, images = document["timed"], document["data"]["images"]
    axes.set_title(f"AP on {images} pages; a line goes through the sizes of a model, labels are shortest sides")
    threads = "1 thread" if timed["threads"] == 1 else f"{timed['threads']} threads"
    axes.set_xlabel(f"milliseconds of a page, median of {timed['rounds']} in turns; {threads}, {timed['device']}")
    figure.legend(handles=[*_line_keys(), *_model_keys(models)], loc="outside right center", frameon=False)
    _label(figure, axes, front)
    return figure


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.milliseconds for point in points], [point.ap for point in points]


def _label(figure: Figure, axes: Axes, front: Sequence[Point]) -> None:
    """Write at the front's points, from the best down, as far as there is room: no point lies above on their left."""
    figure.draw_without_rendering()  # makes the layout final
    taken: list[Bbox] = []
    for point in reversed(front):
        label = axes.annotate(
            point.label,
            (point.milliseconds, point.ap),
            (-5, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=LOOKS[point.line][0],
        )
        box = label.get_window_extent()
        if box.count_overlaps(taken):
            label.remove()
        else:
            taken.append(box)


def _line_keys() -> list[Line2D]:
    keys = [Line2D([], [], color=shade, ls=dashes, label=line) for line, (shade, dashes) in LOOKS.items()]
    return [*keys, Line2D([], [], color=FRONT, lw=7, label="nothing is better in less time")]


def _model_keys(models: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=GREY, ls="", marker=marker, label=model)
        for model, marker in zip(models, MARKERS, strict=False)
    ]
