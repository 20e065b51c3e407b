"""Magazine pages: narrow columns around pictures, pull quotes, coloured sidebars and white text on dark boxes."""

import random
from dataclasses import replace

from models.data.pages.background import surround
from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.charts import Rectangle
from models.data.pages.figures import figure
from models.data.pages.flow import Weighted, fill
from models.data.pages.headings import various_heading
from models.data.pages.parts import running_text
from models.data.pages.pictures import picture
from models.data.pages.short_lists import nested, short_list
from models.data.pages.style import Style
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import person, phrase

_PALE: tuple[Colour, ...] = ((253, 242, 220), (225, 238, 247), (232, 244, 229), (240, 240, 240), (250, 228, 228))


def magazine(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page: a large title or none, then columns with pictures, quotes and boxes across some of them."""
    surround(canvas, rng, style)
    count = rng.choice((2, 3, 3, 4)) if style.width > 380 * style.point else 2
    style = replace(style, columns=count, gutter=rng.uniform(10, 16) * style.point)
    top = style.top
    if rng.random() < 0.55:
        top = _opening(canvas, rng, style, top)
    wide = (style.width - style.gutter * (count - 1)) / count
    tops = [top] * count
    bottoms = [style.bottom] * count
    for _ in range(rng.randint(1, 2)):  # across some columns, at their heads or feet
        span = rng.randint(1, count)
        first = rng.randint(0, count - span)
        over = range(first, first + span)
        upper, lower = max(tops[k] for k in over), min(bottoms[k] for k in over)
        height = (lower - upper) * rng.uniform(0.25, 0.45)
        if height < 9 * style.body.leading:
            continue
        x = style.left + first * (wide + style.gutter)
        width = span * wide + (span - 1) * style.gutter
        at_head = rng.random() < 0.6
        y = upper if at_head else lower - height
        insert = rng.choice((_picture, _picture, _sidebar, _sidebar))
        insert(canvas, rng, style, (x, y, x + width, y + height))
        for k in over:
            if at_head:
                tops[k] = y + height + style.body.leading
            else:
                bottoms[k] = y - style.body.leading
    parts: Weighted = ((running_text, 8), (various_heading, 1.2), (pull_quote, 0.4), (short_list, 0.4))
    for k in range(count):
        x = style.left + k * (wide + style.gutter)
        fill(canvas, rng, style, parts, (x, tops[k], x + wide, bottoms[k]))


def _opening(canvas: Canvas, rng: random.Random, style: Style, y: float) -> float:
    """Set a large title of one to three lines, a deck below it, and the author."""
    face = style.title_face.scaled(rng.uniform(1.2, 2.2))
    place = rng.choice((0.0, 0.0, 0.5))
    rows = wrapped(phrase(rng, rng.randint(2, 7)), face, style.width * 0.95)[:3]
    with canvas.annotate("title"):
        for row in rows:
            y += face.size * 1.1
            canvas.text(row, style.left + place * style.width, y, face, rng.choice((BLACK, style.accent)), place)
    y += face.size * 0.5
    deck = style.body.italic.scaled(1.3)
    if rng.random() < 0.7:
        with canvas.annotate("text"):
            for row in wrapped(phrase(rng, rng.randint(8, 22)), deck, style.width * 0.9):
                canvas.text(row, style.left + place * style.width, y + deck.size, deck, anchor=place)
                y += deck.size * 1.25
        y += style.body.leading * 0.6
    if rng.random() < 0.6:
        with canvas.annotate("text"):
            canvas.text(
                f"By {person(rng)}",
                style.left + place * style.width,
                y + style.body.leading,
                style.body.bold,
                anchor=place,
            )
        y += style.body.leading * 1.6
    return y + style.body.leading


def _picture(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle) -> None:
    """Draw a picture, or another figure, with a caption below it, inside it or without one."""
    x0, y0, x1, y1 = area
    small = style.small
    mode = rng.choice(("below", "below", "none"))
    lines = rng.randint(1, 3) if mode == "below" else 0
    foot = y1 - lines * small.leading - 3 * style.point * (lines > 0)
    if rng.random() < 0.75:
        with canvas.annotate("figure"):
            canvas.picture(picture(rng, int(foot - y0), int(x1 - x0)), x0, y0)
    else:
        figure(canvas, rng, style, (x0, y0, x1, foot))
    if lines:
        with canvas.annotate("text"):
            set_lines(canvas, rng, small, x0, foot + 3 * style.point, x1 - x0, lines, align="left")


def _sidebar(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle) -> None:
    """Draw a coloured or dark box with a title, paragraphs and at times a list."""
    x0, y0, x1, y1 = area
    dark = rng.random() < 0.4
    canvas.rectangle(*area, fill=rng.choice((style.accent, (30, 30, 30))) if dark else rng.choice(_PALE))
    ink = WHITE if dark else BLACK
    pad, face = 7 * style.point, style.heading_faces[0]
    text = replace(style.body, link=BLACK, align="left")
    x, width, y, bottom = x0 + pad, x1 - x0 - 2 * pad, y0 + pad, y1 - pad
    if rng.random() < 0.8:
        with canvas.annotate("title"):
            for row in wrapped(phrase(rng, rng.randint(1, 5)), face, width)[:2]:
                canvas.text(row, x, y + face.size, face, ink)
                y += face.size * 1.2
        y += text.leading * 0.6
    listed = rng.random() < 0.4
    while (lines := min(rng.randint(2, 8), int((bottom - y) / text.leading))) >= 2:
        if listed:
            with canvas.annotate("list"):
                nested(canvas, rng, text, x, y, width, bottom, ink=ink)
            return
        with canvas.annotate("text"):
            y = set_lines(canvas, rng, text, x, y, width, lines, ink=ink)
        y += text.leading * 0.5
        listed = rng.random() < 0.15


def pull_quote(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set a sentence in large type, often between rules; annotated as text."""
    face = rng.choice((style.body.italic, style.body.bold, style.heading_faces[0])).scaled(rng.uniform(1.3, 1.9))
    rows = wrapped(f"\u201c{phrase(rng, rng.randint(6, 14))}\u201d", face, width * 0.95)
    leading = face.size * 1.25
    height = len(rows) * leading + 2.4 * style.body.leading
    if height + 3 * style.body.leading > room:
        return y
    ruled, anchor = rng.random() < 0.5, rng.choice((0.0, 0.5))
    ink = rng.choice((BLACK, style.accent))
    y += style.body.leading * 0.8
    if ruled:
        canvas.rectangle(x, y, x + width, y + style.point, fill=style.accent)
    y += style.body.leading * 0.3
    with canvas.annotate("text"):
        for row in rows:
            canvas.text(row, x + anchor * width, y + leading * 0.8, face, ink, anchor)
            y += leading
    y += style.body.leading * 0.5
    if ruled:
        canvas.rectangle(x, y, x + width, y + style.point, fill=style.accent)
    return y + style.body.leading * 0.8
