"""Figures without common axes: flowcharts, forest plots, pies and node graphs."""

import math
import random
from collections.abc import Callable

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.charts import Rectangle
from models.data.pages.fonts import Face
from models.data.pages.text_blocks import wrapped
from models.data.pages.words import numeric_cells, person, phrase

Palette = tuple[Colour, ...]
PALE: tuple[Colour, ...] = (WHITE, WHITE, (230, 238, 247), (252, 240, 220), (228, 243, 226), (240, 240, 240))


def diagram(canvas: Canvas, rng: random.Random, label: Face, palette: Palette, area: Rectangle) -> None:
    """Draw one diagram inside `area` (x0, y0, x1, y1 in pixels)."""
    kind: Callable[..., None] = rng.choice((_flowchart, _flowchart, _forest_plot, _pie, _graph))
    kind(canvas, rng, label, palette, area)


def _flowchart(canvas: Canvas, rng: random.Random, label: Face, _palette: Palette, area: Rectangle) -> None:
    x0, y0, x1, y1 = area
    size = label.size
    levels = max(2, min(rng.randint(2, 6), int((y1 - y0) / (size * 3.5))))
    fill = rng.choice(PALE)
    pitch = (y1 - y0) / levels
    middle = (x0 + x1) / 2
    for level in range(levels):
        count = 1 if level == 0 else rng.choice((1, 2, 2, 3))
        wide = (x1 - x0) / count
        top, bottom = y0 + level * pitch, y0 + level * pitch + pitch * (0.6 if level < levels - 1 else 0.98)
        for i in range(count):
            left, right = x0 + i * wide + wide * 0.08, x0 + (i + 1) * wide - wide * 0.08
            at = (left + right) / 2
            canvas.rectangle(left, top, right, bottom, fill=fill, outline=BLACK)
            _centred(canvas, rng, label, (left, top, right, bottom))
            if level:
                joint = top - pitch * 0.2
                canvas.line([(middle, top - pitch * 0.4), (middle, joint), (at, joint), (at, top)])
                tip, back = size * 0.3, top - size * 0.5
                canvas.polygon([(at, top), (at - tip, back), (at + tip, back)], BLACK)


def _centred(canvas: Canvas, rng: random.Random, label: Face, area: Rectangle) -> None:
    x0, y0, x1, y1 = area
    rows = wrapped(phrase(rng, rng.randint(1, 8)), label, (x1 - x0) * 0.9)[: max(1, int((y1 - y0) / label.size / 1.15))]
    y = (y0 + y1) / 2 - len(rows) * label.size * 0.575
    for row in rows:
        y += label.size * 1.15
        canvas.text(row, (x0 + x1) / 2, y - label.size * 0.25, label, anchor=0.5)


def _forest_plot(canvas: Canvas, rng: random.Random, label: Face, palette: Palette, area: Rectangle) -> None:
    x0, y0, x1, y1 = area
    size = label.size
    pitch = size * rng.uniform(1.2, 1.7)
    left, right = x0 + (x1 - x0) * 0.38, x0 + (x1 - x0) * 0.75
    neutral = left + (right - left) * rng.uniform(0.3, 0.7)
    canvas.line([(neutral, y0), (neutral, y1 - size * 1.4)])
    canvas.line([(left, y1 - size * 1.4), (right, y1 - size * 1.4)])
    for k in range(5):
        canvas.text(f"{0.5 * k:.1f}", left + (right - left) * k / 4, y1 - size * 0.2, label, anchor=0.5)
    y = y0 + pitch
    while y < y1 - 2 * size:
        canvas.text(f"{person(rng)} {rng.randint(1985, 2016)}", x0, y, label)
        centre = rng.uniform(left + 0.15 * (right - left), right - 0.15 * (right - left))
        reach = rng.uniform(0.03, 0.15) * (right - left)
        middle, half = y - size * 0.3, size * rng.uniform(0.12, 0.35)
        canvas.line([(centre - reach, middle), (centre + reach, middle)])
        canvas.rectangle(centre - half, middle - half, centre + half, middle + half, fill=palette[0])
        canvas.text(rng.choice(numeric_cells()[5]), x1, y, label, anchor=1.0)
        y += pitch


def _pie(canvas: Canvas, rng: random.Random, label: Face, palette: Palette, area: Rectangle) -> None:
    x0, y0, x1, y1 = area
    radius = min(x1 - x0, y1 - y0) * 0.48
    x, y = x0 + radius + (x1 - x0 - 2 * radius) * rng.uniform(0, 0.5), (y0 + y1) / 2
    box = (x - radius, y - radius, x + radius, y + radius)
    canvas.ellipse(*box, fill=palette[0], outline=BLACK)
    angle = rng.uniform(0, 360)
    for k in range(rng.randint(1, 5)):
        sweep = rng.uniform(15, 70)
        canvas.draw.pieslice(box, angle, angle + sweep, palette[(k + 1) % len(palette)], BLACK)
        turn = math.radians(angle + sweep / 2)
        at_x, at_y = x + 0.6 * radius * math.cos(turn), y + 0.6 * radius * math.sin(turn)
        canvas.text(f"{sweep / 3.6:.0f}%", at_x, at_y, label, anchor=0.5)
        angle += sweep
    if x1 - x - radius > 7 * label.size:
        for k in range(4):
            top = y - (2.5 - 1.4 * k) * label.size
            canvas.rectangle(x1 - 6 * label.size, top, x1 - 5.2 * label.size, top + 0.8 * label.size, fill=palette[k])
            canvas.text(phrase(rng, 1)[:8], x1 - 4.8 * label.size, top + 0.8 * label.size, label)


def _graph(canvas: Canvas, rng: random.Random, label: Face, palette: Palette, area: Rectangle) -> None:
    x0, y0, x1, y1 = area
    radius = min(x1 - x0, y1 - y0) * rng.uniform(0.02, 0.09)
    places = [
        (rng.uniform(x0 + radius, x1 - radius), rng.uniform(y0 + radius, y1 - radius))
        for _ in range(rng.randint(5, 20))
    ]
    for _ in range(len(places) * 3 // 2):
        canvas.line([rng.choice(places), rng.choice(places)], rng.choice((BLACK, (150, 150, 150))))
    for x, y in places:
        canvas.ellipse(x - radius, y - radius, x + radius, y + radius, fill=rng.choice(palette), outline=BLACK)
        if rng.random() < 0.6:
            canvas.text(phrase(rng, 1)[:6], x, y + label.size * 0.3, label, anchor=0.5)
