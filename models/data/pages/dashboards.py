"""Dashboards: tiles with large numerals, charts and tables beside a menu."""

import random
from dataclasses import replace

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.charts import PALETTES, Rectangle, chart
from models.data.pages.ruled_tables import ruled_table
from models.data.pages.style import Style
from models.data.pages.text_blocks import wrapped
from models.data.pages.words import phrase

_GREY: Colour = (110, 110, 110)


def dashboard(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page of tiles below a bar with its title; a menu at the left is a list."""
    dark = rng.random() < 0.2
    ground: Colour = (24, 30, 44) if dark else rng.choice((WHITE, (240, 242, 245), (246, 246, 246)))
    card: Colour = (40, 48, 66) if dark else WHITE
    ink = WHITE if dark else BLACK
    canvas.rectangle(0, 0, canvas.width, canvas.height, fill=ground)
    gap, x, y = 8 * style.point, 0.0, 0.0
    face = style.body.bold.scaled(1.5)
    if rng.random() < 0.4:
        x = _menu(canvas, rng, style)
    bar = rng.random() < 0.6
    if bar:
        canvas.rectangle(x, y, canvas.width, face.size * 2.2, fill=style.accent)
    with canvas.annotate("title"):
        canvas.text(phrase(rng, rng.randint(1, 3)), x + gap, face.size * 1.45, face, WHITE if bar else ink)
    y = face.size * 2.2 + gap
    x += gap
    width = canvas.width - gap - x
    bottom = canvas.height - gap
    numerals = False
    while bottom - y > 60 * style.point:
        numerals = not numerals and rng.random() < 0.6
        height = min(bottom - y, (rng.uniform(50, 75) if numerals else rng.uniform(110, 220)) * style.point)
        if bottom - y - height < 60 * style.point and not numerals:
            height = bottom - y
        count = rng.randint(2, 5) if numerals else rng.randint(1, 3)
        wide = (width - gap * (count - 1)) / count
        for k in range(count):
            left = x + k * (wide + gap)
            area = (left, y, left + wide, y + height)
            outline = (200, 200, 200) if ground == WHITE else None
            canvas.rectangle(*area, fill=card, outline=outline)
            if numerals:
                _numeral(canvas, rng, style, area, ink)
            else:
                _tile(canvas, rng, style, area, ink, dark)
        y += height + gap


def _menu(canvas: Canvas, rng: random.Random, style: Style) -> float:
    """Draw a dark menu over the whole height, annotated as a list; return its right edge."""
    face = style.body.regular
    names = [phrase(rng, rng.choice((1, 1, 2))) for _ in range(rng.randint(4, 10))]
    right = max(face.string(name).advance for name in names) + 3 * face.size
    canvas.rectangle(0, 0, right, canvas.height, fill=(38, 50, 56))
    y = 5 * face.size
    with canvas.annotate("list"):
        for name in names:
            canvas.text(name, 1.5 * face.size, y, face, WHITE)
            y += 2.2 * face.size
    return right


def _numeral(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle, ink: Colour) -> None:
    """Set a large number and what it counts as one annotated text."""
    x0, y0, x1, y1 = area
    value = rng.choice(("{}", "{}%", "${}k", "{},204", "+{}%", "{}.7", "{}M")).format(rng.randint(1, 999))
    face = style.body.bold.scaled(2.6)
    while face.string(value).advance > (x1 - x0) * 0.85 and face.size > 6:
        face = face.scaled(0.85)
    label = wrapped(phrase(rng, rng.randint(1, 3)), style.small.regular, (x1 - x0) * 0.85)[0]
    at, anchor = rng.choice((((x0 + x1) / 2, 0.5), (x0 + (x1 - x0) * 0.08, 0.0)))
    middle = (y0 + y1) / 2
    lines = [(value, face, rng.choice((ink, style.accent if ink == BLACK else ink))), (label, style.small.regular, ink)]
    below = rng.random() < 0.6
    with canvas.annotate("text"):
        base = middle + (0.25 if below else 0.75) * face.size
        canvas.text(lines[0][0], at, base, face, lines[0][2], anchor)
        base = middle + (0.35 * face.size + style.small.regular.size if below else -0.3 * face.size)
        canvas.text(label, at, base, style.small.regular, _GREY if ink == BLACK else ink, anchor)


def _tile(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle, ink: Colour, dark: bool) -> None:
    """Draw a heading, annotated as title, and a chart or a table below it."""
    x0, y0, x1, y1 = area
    pad, face = 6 * style.point, style.body.bold
    y = y0 + pad
    if rng.random() < 0.85:
        with canvas.annotate("title"):
            row = wrapped(phrase(rng, rng.randint(1, 4)), face, x1 - x0 - 2 * pad)[0]
            canvas.text(row, x0 + pad, y + face.size, face, ink)
        y += face.size * 1.8
    if rng.random() < 0.3 and not dark:
        plain = replace(style, table=replace(style.table, align="left"))
        ruled_table(canvas, rng, plain, x0 + pad, y, x1 - x0 - 2 * pad, y1 - pad - y, rows=30)
        return
    if dark:  # its labels are black
        canvas.rectangle(x0 + pad / 2, y - pad / 4, x1 - pad / 2, y1 - pad / 2, fill=(205, 210, 220))
    with canvas.annotate("figure"):
        chart(canvas, rng, style.label_face, rng.choice(PALETTES[1:]), (x0 + pad, y, x1 - pad, y1 - pad))
