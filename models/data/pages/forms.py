"""Forms: gridded fields, underlined fields, check boxes and section bars."""

import random
from itertools import pairwise

from models.data.pages.background import signature, stamp, surround
from models.data.pages.canvas import BLACK, WHITE, Canvas
from models.data.pages.flow import Weighted, columns, fill
from models.data.pages.fonts import Face, draw_family, sized
from models.data.pages.parts import running_text
from models.data.pages.short_lists import check_boxes
from models.data.pages.style import Style
from models.data.pages.text_blocks import wrapped
from models.data.pages.words import numeric_cells, person, phrase


def form(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a form of one column, or of two below its first section."""
    surround(canvas, rng, style)
    mono = draw_family(rng, "mono").regular
    face = style.title_face.scaled(rng.uniform(0.7, 1.0))
    place = rng.choice((0.0, 0.5))
    y = style.top
    with canvas.annotate("title"):
        for row in wrapped(phrase(rng, rng.randint(2, 6)), face, style.width * 0.9):
            y += face.size * 1.15
            canvas.text(row, style.left + place * style.width, y, face, anchor=place)
    y += style.body.leading
    entry = sized(mono, style.body.regular.size)

    def field_grid(
        canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
    ) -> float:
        return _field_grid(canvas, rng, style, entry, x, y, width, room)

    parts: Weighted = ((field_grid, 3), (_underlined, 2), (_choices, 1.5), (_bar, 2), (running_text, 1))
    if rng.random() < 0.25:
        y = _bar(canvas, rng, style, style.left, y, style.width, style.bottom - y)
        y = field_grid(canvas, rng, style, style.left, y, style.width, (style.bottom - y) * 0.4)
    bottom = style.bottom - 5 * style.body.leading
    ends = [fill(canvas, rng, style, parts, area) for area in columns(style, y, bottom)]
    if rng.random() < 0.6:
        _signature_line(canvas, rng, style, max(ends) + 2.5 * style.body.leading)
    if rng.random() < 0.2:
        stamp(canvas, rng, style, style.right - style.width * 0.2, style.top + style.body.leading)


def _field_grid(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    entry: Face,
    x: float,
    y: float,
    width: float,
    room: float,
) -> float:
    """Draw rows of boxed fields with a small caption in each, some filled in; annotated as one table."""
    caption = style.small.regular.scaled(0.85)
    height = rng.uniform(2.0, 2.8) * style.body.leading
    rows = min(rng.randint(2, 9), int(room / height) - 1)
    if rows < 2:
        return y
    filled, thickness = rng.choice((0.0, 0.5, 0.9)), max(1.0, style.point * 0.6)
    shaded = rng.random() < 0.2
    y += style.body.leading * 0.3
    with canvas.annotate("table"):
        for _ in range(rows):
            cuts = sorted(rng.sample(range(1, 8), rng.choice((0, 1, 1, 2, 3))))
            edges = [x, *(x + width * cut / 8 for cut in cuts), x + width]
            for left, right in pairwise(edges):
                pale = (235, 240, 247) if shaded else None
                canvas.rectangle(left, y, right, y + height, fill=pale, outline=BLACK, thickness=thickness)
                inset = caption.size * 0.4
                label = wrapped(phrase(rng, rng.randint(1, 3)), caption, right - left - 2 * inset)[0]
                canvas.text(label, left + inset, y + caption.size * 1.1, caption)
                if rng.random() < filled:
                    value = rng.choice((person(rng), phrase(rng, 1), rng.choice(rng.choice(numeric_cells()))))
                    if entry.string(value).advance < right - left - 2 * inset:
                        canvas.text(value, left + 2 * inset, y + height - style.body.leading * 0.35, entry)
            y += height
    return y + style.body.leading * 0.6


def _underlined(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set lines of names followed by lines to write on; annotated as one text."""
    pitch = style.body.leading * rng.uniform(1.3, 1.8)
    rows = min(rng.randint(1, 6), int(room / pitch) - 1)
    if rows < 1:
        return y
    size = style.body.regular.size
    y += style.body.leading * 0.4
    with canvas.annotate("text"):
        for _ in range(rows):
            cells = rng.choice((1, 1, 2)) if width > 25 * size else 1
            for k in range(cells):
                left, right = x + k * width / cells, x + (k + 1) * width / cells - size
                base = y + pitch * 0.75
                left += canvas.text(phrase(rng, rng.randint(1, 2)) + ":", left, base, style.body.regular) + size * 0.4
                if right - left > size:
                    canvas.rectangle(left, base + 1, right, base + 1, fill=BLACK)
            y += pitch
    return y + style.body.leading * 0.4


def _choices(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float) -> float:
    """Ask a question and list its answers with boxes to check: a text and a list."""
    if room < 6 * style.body.leading:
        return y
    if rng.random() < 0.6:
        with canvas.annotate("text"):
            string = wrapped(phrase(rng, rng.randint(3, 9)) + "?", style.body.regular, width)[0]
            canvas.text(string, x, y + style.body.leading * 0.8, rng.choice((style.body.bold, style.body.regular)))
        y += style.body.leading * 1.2
        room -= style.body.leading * 1.2
    with canvas.annotate("list"):
        end = check_boxes(canvas, rng, style.body, x, y, width, y + room)
    return end + style.body.leading * 0.4


def _bar(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float) -> float:
    """Draw a dark or grey bar with the heading of a section, annotated as a title."""
    face = style.body.bold
    height = face.size * 1.5
    if room < height + 6 * style.body.leading:
        return y
    y += style.body.leading * 0.4
    fill, ink = rng.choice(((style.accent, WHITE), (BLACK, WHITE), ((215, 215, 215), BLACK)))
    canvas.rectangle(x, y, x + width, y + height, fill=fill)
    number = rng.choice(("", f"{rng.randint(1, 12)}. ", f"PART {rng.choice('ABCD')} "))
    with canvas.annotate("title"):
        string = wrapped(number + phrase(rng, rng.randint(1, 4)), face, width - face.size)[0]
        canvas.text(string, x + face.size * 0.5, y + height * 0.72, face, ink)
    return y + height + style.body.leading * 0.3


def _signature_line(canvas: Canvas, rng: random.Random, style: Style, y: float) -> None:
    """Draw lines for signature and date, the first one signed at times; none is annotated."""
    face = style.small.regular
    for place, name in ((0.0, "Signature"), (0.65, "Date")):
        left, right = style.left + place * style.width, style.left + (place + 0.32) * style.width
        canvas.rectangle(left, y, right, y, fill=BLACK)
        canvas.text(name, left, y + face.size * 1.1, face)
        if place == 0.0 and rng.random() < 0.6:
            signature(canvas, rng, style, left + 4 * style.point, y - 2 * style.point, (right - left) * 0.7)
