"""Slides: one over a page, or several on a handout; titles, bullets, pictures and tables on coloured grounds."""

import random
from dataclasses import replace

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.charts import Rectangle
from models.data.pages.figures import figure
from models.data.pages.ruled_tables import ruled_table
from models.data.pages.short_lists import nested
from models.data.pages.style import Style, TextStyle
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import phrase


def slides(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page of slides: as many as keep their shape, one below another or in pairs."""
    dark = rng.random() < 0.3
    ground: Colour = style.accent if dark else rng.choice((WHITE, WHITE, (245, 245, 240), (235, 242, 250)))
    ink = WHITE if dark else BLACK
    bar = rng.random() < 0.3 and not dark
    if canvas.width > 1.1 * canvas.height:
        _slide(canvas, rng, style, (0.0, 0.0, float(canvas.width), float(canvas.height)), ground, ink, bar)
        return
    rows, across = rng.choice(((1, 1), (2, 1), (2, 1), (3, 1), (3, 2)))
    if rows == 1:
        full = (0.0, 0.0, float(canvas.width), float(canvas.height))
        _slide(canvas, rng, style, full, ground, ink, bar)
        return
    gap = 14 * style.point
    wide = (style.width - gap * (across - 1)) / across
    high = min(wide * rng.choice((0.75, 0.5625)), (style.bottom - style.top - gap * (rows - 1)) / rows)
    for k in range(rows * across):
        x, y = style.left + (k % across) * (wide + gap), style.top + (k // across) * (high + gap)
        canvas.rectangle(x, y, x + wide, y + high, outline=BLACK)
        _slide(canvas, rng, style, (x + 1, y + 1, x + wide - 1, y + high - 1), ground, ink, bar)
    canvas.text(str(rng.randint(1, 60)), style.right, style.bottom + 20 * style.point, style.small.regular, anchor=1.0)


def _slide(
    canvas: Canvas, rng: random.Random, style: Style, area: Rectangle, ground: Colour, ink: Colour, bar: bool
) -> None:
    x0, y0, x1, y1 = area
    width, height = x1 - x0, y1 - y0
    size = min(width, 1.4 * height) * rng.uniform(0.026, 0.038)
    text = _at_size(style.body, size)
    if ground != WHITE:
        canvas.rectangle(*area, fill=ground)
    margin = width * rng.uniform(0.04, 0.08)
    left, right = x0 + margin, x1 - margin
    if rng.random() < 0.6:  # foot
        at = y1 - size * 0.6
        face = text.regular.scaled(0.6)
        canvas.text(str(rng.randint(1, 60)), right, at, face, ink, 1.0)
        canvas.text(phrase(rng, rng.randint(2, 5)), left, at, face, ink)
    face = text.bold.scaled(rng.uniform(1.3, 1.8))
    rows = wrapped(phrase(rng, rng.randint(1, 6)), face, right - left)[:2]
    if rng.random() < 0.12:  # a slide that opens a part
        _opening(canvas, rng, text, (left, y0, right, y1), rows, ink)
        return
    y = y0 + height * 0.05
    anchor = rng.choice((0.0, 0.0, 0.5))
    if bar:
        canvas.rectangle(x0, y0, x1, y + face.size * (1.2 * len(rows) + 0.5), fill=style.accent)
    with canvas.annotate("title"):
        for row in rows:
            y += face.size * 1.15
            canvas.text(row, left + anchor * (right - left), y, face, WHITE if bar else ink, anchor)
    y += face.size * 0.9
    bottom = y1 - size * 2
    middle = (left + right) / 2
    plan = rng.choice(("list", "list", "list+figure", "list+figure", "figure", "figures", "table", "text+figure"))
    if ink == WHITE and "table" in plan:
        plan = "list"
    local = replace(style, body=text, table=_at_size(style.table, size * 0.75), label_face=text.regular.scaled(0.6))
    if plan == "table":
        ruled_table(canvas, rng, local, left, y, right - left, bottom - y)
        return
    end = right
    if "+" in plan:
        if rng.random() < 0.5:
            _figure(canvas, rng, local, (middle + size, y, right, bottom), ground)
            end = middle
        else:
            _figure(canvas, rng, local, (left, y, middle - size, bottom), ground)
            left = middle
    if plan.startswith("list"):
        with canvas.annotate("list"):
            nested(canvas, rng, text, left, y, end - left, bottom, ink=ink)
    elif plan.startswith("text"):
        with canvas.annotate("text"):
            lines = max(1, min(rng.randint(2, 7), int((bottom - y) / text.leading)))
            set_lines(canvas, rng, text, left, y, end - left, lines, align="left", ink=ink)
    elif plan == "figure":
        _figure(canvas, rng, local, (left, y, right, bottom), ground)
    else:
        _figure(canvas, rng, local, (left, y, middle - size, bottom), ground)
        _figure(canvas, rng, local, (middle + size, y, right, bottom), ground)


def _figure(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle, ground: Colour) -> None:
    """Draw a figure, on white where the ground is dark: its labels are black."""
    if sum(ground) < 450:
        canvas.rectangle(*area, fill=WHITE)
        pad = style.point * 2
        area = (area[0] + pad, area[1] + pad, area[2] - pad, area[3] - pad)
    figure(canvas, rng, style, area)


def _opening(
    canvas: Canvas, rng: random.Random, text: TextStyle, area: Rectangle, rows: list[str], ink: Colour
) -> None:
    """Set a large title and a line or two of text in the middle of the slide."""
    x0, y0, x1, y1 = area
    face = text.bold.scaled(1.6)
    y = y0 + (y1 - y0) * 0.4
    with canvas.annotate("title"):
        for row in rows:
            canvas.text(row, (x0 + x1) / 2, y, face, ink, 0.5)
            y += face.size * 1.2
    with canvas.annotate("text"):
        set_lines(canvas, rng, text, x0, y, x1 - x0, rng.randint(1, 2), align="center", ink=ink)


def _at_size(text: TextStyle, size: float) -> TextStyle:
    """The same style with type of `size` pixels, without links."""
    ratio = size / text.regular.size
    regular, italic, bold = (face.scaled(ratio) for face in (text.regular, text.italic, text.bold))
    return replace(
        text, regular=regular, italic=italic, bold=bold, leading=size * 1.3, align="left", link=BLACK, citations=0.0
    )
