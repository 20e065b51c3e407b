"""A column filled with parts, drawn by weight one below another."""

import random
from collections.abc import Sequence
from typing import Protocol

from models.data.pages.canvas import Canvas
from models.data.pages.style import Style

MAX_MISSES = 4
MAX_PARTS = 50
"""Annotated parts of a page after which columns stay as they are: a page stays within a detector's queries."""


class Part(Protocol):
    """Draws something at most `width` pixels wide and `room` high; returns the y below it, `y` where it has no room."""

    def __call__(
        self, canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float, /
    ) -> float:
        """Draw with the upper left corner at (x, y)."""
        ...


Weighted = Sequence[tuple[Part, float]]


def fill(
    canvas: Canvas, rng: random.Random, style: Style, parts: Weighted, area: tuple[float, float, float, float]
) -> float:
    """Fill `area` (x0, y0, x1, y1 in pixels) from the top until few parts fit; return the y below the last."""
    x0, y, x1, y1 = area
    kinds, weights = zip(*parts, strict=True)
    misses, end = 0, y
    while misses < MAX_MISSES and y1 - y > style.body.leading and len(canvas.boxes) < MAX_PARTS:
        below = rng.choices(kinds, weights)[0](canvas, rng, style, x0, y, x1 - x0, y1 - y)
        misses = 0 if below > y else misses + 1
        if below > y:
            end = below
            y = below + max(style.paragraph_gap, 0.0)
    return end


def columns(style: Style, top: float, bottom: float) -> list[tuple[float, float, float, float]]:
    """Areas of the style's columns between two heights."""
    count = style.columns
    width = (style.width - style.gutter * (count - 1)) / count
    lefts = [style.left + k * (width + style.gutter) for k in range(count)]
    return [(left, top, left + width, bottom) for left in lefts]
