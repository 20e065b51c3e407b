"""Charts with axes: lines, bars, scatter, boxes and survival curves."""

import math
import random
from collections.abc import Callable

from models.data.pages.canvas import BLACK, Canvas, Colour
from models.data.pages.fonts import Face
from models.data.pages.words import phrase

Rectangle = tuple[float, float, float, float]
PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((0, 0, 0), (110, 110, 110), (180, 180, 180), (60, 60, 60)),
    ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)),
    ((79, 129, 189), (192, 80, 77), (155, 187, 89), (128, 100, 162)),
    ((0, 0, 200), (200, 0, 0), (0, 140, 0), (200, 0, 200)),
    ((68, 114, 196), (237, 125, 49), (165, 165, 165), (255, 192, 0)),
)
GREY: Colour = (205, 205, 205)


def chart(canvas: Canvas, rng: random.Random, label: Face, palette: tuple[Colour, ...], area: Rectangle) -> None:
    """Draw one chart that fills `area` (x0, y0, x1, y1 in pixels) up to its labels."""
    kind: Callable[..., None] = rng.choice((_curves, _curves, _bars, _bars, _scatter, _box_plot, _survival))
    plot = _axes(canvas, rng, label, area)
    kind(canvas, rng, palette, plot)
    if rng.random() < 0.55:
        _legend(canvas, rng, label, palette, plot)


def _axes(canvas: Canvas, rng: random.Random, label: Face, area: Rectangle) -> Rectangle:
    x0, y0, x1, y1 = area
    size = label.size
    named_x, named_y, titled = rng.random() < 0.6, rng.random() < 0.75, rng.random() < 0.25
    left = x0 + size * (1.9 + 1.3 * named_y)
    bottom = y1 - size * (1.3 + 1.2 * named_x)
    top = y0 + size * (1.6 if titled else 0.5)
    right = x1 - size * 0.3
    if titled:
        canvas.text(phrase(rng, 2), (left + right) / 2, y0 + size, label, anchor=0.5)
    if named_x:
        canvas.text(phrase(rng, rng.randint(1, 3)), (left + right) / 2, y1 - size * 0.25, label, anchor=0.5)
    if named_y:
        canvas.vertical_text(phrase(rng, rng.randint(1, 2)), x0 + size, (top + bottom) / 2, label)
    grid, framed = rng.random() < 0.3, rng.random() < 0.35
    steps = rng.randint(3, 6)
    unit = rng.choice((1, 5, 10, 20, 100))
    for i in range(steps + 1):
        y = bottom - (bottom - top) * i / steps
        if grid:
            canvas.line([(left, y), (right, y)], GREY)
        canvas.line([(left - size * 0.3, y), (left, y)])
        canvas.text(str(i * unit), left - size * 0.45, y + size * 0.35, label, anchor=1.0)
    ticks = rng.randint(2, 6)
    for i in range(ticks):
        x = left + (right - left) * (i + 0.5) / ticks
        canvas.line([(x, bottom), (x, bottom + size * 0.3)])
        canvas.text(str((i + 1) * unit), x, bottom + size * 1.15, label, anchor=0.5)
    canvas.line([(left, top), (left, bottom), (right, bottom)], BLACK, max(1.0, size / 9))
    if framed:
        canvas.line([(left, top), (right, top), (right, bottom)])
    return left, top, right, bottom


def _curves(canvas: Canvas, rng: random.Random, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, y1 = plot
    count = rng.randint(4, 14) if rng.random() < 0.5 else rng.randint(20, 60)
    jitter = rng.uniform(0, 0.12)
    for k in range(rng.randint(1, 4)):
        a, b, c, f = rng.uniform(0.1, 0.9), rng.uniform(-0.6, 0.6), rng.uniform(0, 0.3), rng.uniform(1, 9)
        points = []
        for i in range(count):
            t = i / (count - 1)
            value = a + b * t + c * math.sin(f * t) + rng.gauss(0, jitter)
            points.append((x0 + (x1 - x0) * t, y1 - (y1 - y0) * min(max(value, 0.02), 0.98)))
        colour = palette[k % len(palette)]
        canvas.line(points, colour, max(1.0, (y1 - y0) / 90))
        if count < 15:
            radius = max(1.5, (y1 - y0) / 45)
            for x, y in points:
                canvas.ellipse(x - radius, y - radius, x + radius, y + radius, fill=colour)
                if jitter > 0.06:
                    canvas.line([(x, y - 3 * radius), (x, min(y + 3 * radius, y1))], colour)


def _bars(canvas: Canvas, rng: random.Random, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, y1 = plot
    groups, series = rng.randint(2, 8), rng.randint(1, 3)
    slot = (x1 - x0) / groups
    wide = slot * rng.uniform(0.5, 0.9) / series
    errors = rng.random() < 0.65
    hollow = rng.random() < 0.2
    for g in range(groups):
        for k in range(series):
            left = x0 + g * slot + (slot - wide * series) / 2 + k * wide
            top = y1 - (y1 - y0) * rng.uniform(0.08, 0.9)
            fill = (255, 255, 255) if hollow and k == 0 else palette[k % len(palette)]
            canvas.rectangle(left, top, left + wide, y1, fill=fill, outline=BLACK if hollow else None)
            if errors:
                reach = min((y1 - y0) * rng.uniform(0.02, 0.1), top - y0)
                middle = left + wide / 2
                canvas.line([(middle, top - reach), (middle, top + reach)])
                canvas.line([(middle - wide / 5, top - reach), (middle + wide / 5, top - reach)])


def _scatter(canvas: Canvas, rng: random.Random, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, y1 = plot
    radius = max(1.2, (y1 - y0) * rng.uniform(0.008, 0.025))
    slope = rng.uniform(-0.7, 0.7)
    spread = rng.uniform(0.05, 0.2)
    for i in range(rng.randint(15, 90)):
        t = rng.random()
        value = min(max(0.5 + slope * (t - 0.5) + rng.gauss(0, spread), 0.03), 0.97)
        x, y = x0 + (x1 - x0) * t, y1 - (y1 - y0) * value
        canvas.ellipse(x - radius, y - radius, x + radius, y + radius, fill=palette[i % 2])
    if rng.random() < 0.6:
        reach = (y1 - y0) * slope / 2
        middle = (y0 + y1) / 2
        canvas.line([(x0, middle + reach), (x1, middle - reach)], palette[-1], max(1.0, (y1 - y0) / 100))


def _box_plot(canvas: Canvas, rng: random.Random, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, y1 = plot
    groups = rng.randint(2, 8)
    slot, height = (x1 - x0) / groups, y1 - y0
    for g in range(groups):
        middle, centre, half = x0 + (g + 0.5) * slot, rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.15)
        low, high = y1 - height * (centre - half), y1 - height * (centre + half)
        reach = height * rng.uniform(0.04, 0.14)
        canvas.line([(middle, low + reach), (middle, high - reach)])
        fill = palette[g % len(palette)] if palette is not PALETTES[0] else (255, 255, 255)
        canvas.rectangle(middle - slot * 0.28, high, middle + slot * 0.28, low, fill=fill, outline=BLACK)
        canvas.line([(middle - slot * 0.28, (low + high) / 2), (middle + slot * 0.28, (low + high) / 2)])


def _survival(canvas: Canvas, rng: random.Random, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, y1 = plot
    for k in range(rng.randint(1, 3)):
        t, level = 0.0, 1.0
        points = [(x0, y0)]
        while t < 1.0:
            t = min(1.0, t + rng.uniform(0.01, 0.12))
            x = x0 + (x1 - x0) * t
            points.append((x, y1 - (y1 - y0) * level))
            level = max(0.04, level - rng.uniform(0.0, 0.09))
            points.append((x, y1 - (y1 - y0) * level))
        canvas.line(points, palette[k % len(palette)], max(1.0, (y1 - y0) / 90))


def _legend(canvas: Canvas, rng: random.Random, label: Face, palette: tuple[Colour, ...], plot: Rectangle) -> None:
    x0, y0, x1, _ = plot
    size = label.size
    if x1 - x0 < 9 * size:
        return
    x, y = (x1 - 6 * size, y0 + 0.3 * size) if rng.random() < 0.7 else (x0 + size, y0 + 0.3 * size)
    for k in range(rng.randint(2, 3)):
        canvas.rectangle(x, y + size * 0.2, x + size * 0.8, y + size * 0.9, fill=palette[k])
        canvas.text(phrase(rng, 1)[:7], x + size * 1.1, y + size * 0.9, label)
        y += size * 1.25
