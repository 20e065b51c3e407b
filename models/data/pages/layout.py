"""The arrangement of a page: running heads, full-width floats, and columns that text flows through."""

import random
from dataclasses import dataclass

from models.data.pages.canvas import BLACK, Canvas
from models.data.pages.figures import figure
from models.data.pages.front_matter import front_matter
from models.data.pages.lists import item_list, reference_list
from models.data.pages.style import Style
from models.data.pages.tables import table
from models.data.pages.text_blocks import caption, equation, heading, paragraph, set_lines
from models.data.pages.words import person, phrase

MAX_BOXES = 56
"""After this many boxes, paragraphs fill what is left of a column: a page stays within a detector's queries."""


@dataclass(slots=True)
class Flow:
    """State that passes from column to column.

    `kind` is that of the page; `continues`: a paragraph was cut at the end of the column before; `reference` is the
    number of the next reference; `appetite` scales how often figures and tables come.
    """

    kind: str
    continues: bool
    reference: int
    appetite: float


def compose(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Fill the canvas with one page.

    Six pages of ten are from the middle of an article; the probabilities keep every class on at least a fifth of pages.
    """
    kind = rng.choices(("body", "first", "references", "floats"), (60, 16, 11, 13))[0]
    running_heads(canvas, rng, style, first=kind == "first")
    _margins(canvas, rng, style)
    top, bottom = style.top, style.bottom
    if kind == "first":
        top = front_matter(canvas, rng, style)
    elif kind == "floats" or rng.random() < (0.45 if style.columns > 1 else 0.0):
        share = rng.uniform(0.45, 1.0) if kind == "floats" else rng.uniform(0.18, 0.5)
        top = captioned_float(canvas, rng, style, style.left, top, style.width, (bottom - top) * share)
    if rng.random() < 0.08 and bottom - top > 250 * style.point:  # a float across all columns at the foot
        share = rng.uniform(0.2, 0.4) * (bottom - top)
        if captioned_float(canvas, rng, style, style.left, bottom - share, style.width, share) > 0:
            bottom -= share + style.body.leading
    appetite = 0.35 if kind == "floats" else 1.0
    flow = Flow(kind, kind != "first" and rng.random() < 0.65, rng.randint(1, 60), appetite)
    _columns(canvas, rng, style, flow, top, bottom)


def running_heads(canvas: Canvas, rng: random.Random, style: Style, first: bool) -> None:
    """Write running head, page number, footer and line numbers; none is annotated."""
    face, y = style.small.regular, style.top - rng.uniform(16, 30) * style.point
    number = str(rng.randint(1, 1200))
    if rng.random() < 0.85 and not first:
        title = rng.choice((phrase(rng, rng.randint(2, 6)), f"{person(rng)} et al.", phrase(rng, 3)))
        side = rng.random() < 0.5  # of the page number: left or right
        place = rng.choice((0.0, 0.5, 1.0))
        at = style.left + place * style.width
        canvas.text(title, at, y, rng.choice((face, style.small.italic)), anchor=place)
        if place != (0.0 if side else 1.0) and rng.random() < 0.8:
            canvas.text(number, style.left if side else style.right, y, face, anchor=0.0 if side else 1.0)
        if rng.random() < 0.25:
            canvas.line([(style.left, y + 5 * style.point), (style.right, y + 5 * style.point)])
    if rng.random() < 0.5:
        place = rng.choice((0.0, 0.5, 0.5, 1.0))
        y = style.bottom + rng.uniform(18, 34) * style.point
        string = number if rng.random() < 0.5 else f"{phrase(rng, rng.randint(2, 7))}  |  {number}"
        canvas.text(string, style.left + place * style.width, y, face, anchor=place)
        if rng.random() < 0.2:
            y -= 10 * style.point
            canvas.line([(style.left, y), (style.right, y)], style.accent)


def _margins(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Write line numbers or a vertical banner into the left margin of a few pages; neither is annotated."""
    chance, face = rng.random(), style.small.regular
    if chance < 0.03:  # a manuscript's line numbers
        y, number = style.top + style.body.leading * 0.8, rng.randint(0, 30) * 10
        while y < style.bottom:
            number += 1
            canvas.text(str(number), style.left - 8 * style.point, y, face, (120, 120, 120), 1.0)
            y += style.body.leading
    elif chance < 0.08 and style.left > 40 * style.point:  # a preprint server's banner
        banner = phrase(rng, rng.randint(2, 4))
        for place in (0.2, 0.5, 0.8):
            canvas.vertical_text(banner, style.left * 0.5, canvas.height * place, style.body.bold, (90, 90, 90))


def captioned_float(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    y: float,
    width: float,
    room: float,
    kind: str = "",
) -> float:
    """Draw a figure or table with its caption in `room` pixels; return the y below it and its gap."""
    kind = kind or rng.choice(("figure", "table"))
    text = style.caption
    if kind == "table":
        y = caption(canvas, rng, style, x, y, width, room * 0.3, kind) + 3 * style.point
        end = table(canvas, rng, style, x, y, width, room - 4 * text.leading)
        if rng.random() < 0.35:
            with canvas.annotate("text"):
                end = set_lines(canvas, rng, style.table, x, end + 2 * style.point, width, rng.randint(1, 2))
        return end + text.leading * rng.uniform(1.0, 2.0)
    shrink = rng.choice((0.0, 0.0, 0.0, rng.uniform(0.02, 0.2)))  # one figure in four is narrower than its column
    height = max(40 * style.point, min(room - 4.5 * text.leading, width * rng.uniform(0.3, 1.3)))
    area = (x + width * shrink, y, x + width * (1 - shrink), y + height)
    figure(canvas, rng, style, area)
    end = caption(canvas, rng, style, x, y + height + rng.uniform(5, 12) * style.point, width, 3 * text.leading, kind)
    return end + text.leading * rng.uniform(1.0, 2.0)


def _columns(canvas: Canvas, rng: random.Random, style: Style, flow: Flow, top: float, bottom: float) -> None:
    count = style.columns
    width = (style.width - style.gutter * (count - 1)) / count
    ends_early = rng.random() < 0.12
    stop = bottom if not ends_early else top + (bottom - top) * rng.uniform(0.2, 0.9)
    ragged = rng.random() < 0.3
    for k in range(count):
        x = style.left + k * (width + style.gutter)
        end = stop - (rng.uniform(0, 0.06) * (stop - top) if ragged else 0.0)
        if ends_early and k == count - 1:
            end -= rng.uniform(0, 0.4) * (end - top)
        _column(canvas, rng, style, flow, x, top, width, end)


def _column(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    flow: Flow,
    x: float,
    y: float,
    width: float,
    bottom: float,
) -> None:
    leading, start = style.body.leading, y
    # Room in lines is asked for so that no part is squeezed to a line or two.
    if rng.random() < 0.1 and bottom - y > 20 * leading:
        bottom = _footnote(canvas, rng, style, x, width, bottom)
    if rng.random() < 0.3 * flow.appetite and bottom - y > 22 * leading:
        y = captioned_float(canvas, rng, style, x, y, width, (bottom - y) * rng.uniform(0.3, 0.65))
    after_heading = False
    while int((bottom - y) / leading) >= 1:
        room = bottom - y
        if flow.kind == "references" and (after_heading or flow.reference > 30):
            y, flow.reference = reference_list(canvas, rng, style, x, y, width, room, flow.reference)
            return
        # Of the parts of a column 44 % begin with a heading, 8 % are lists, 2 % quotations, up to 10 % floats, the rest
        # paragraphs; nothing but the rest of a cut paragraph comes at the top of a column.
        chance = rng.random()
        if chance < 0.44 and not after_heading and not flow.continues and room > 5 * leading:
            y = _headings(canvas, rng, style, x, y, width, y > start)
            after_heading = True
            continue
        if 0.44 < chance < 0.52 and room > 4 * leading and not flow.continues:
            y = item_list(canvas, rng, style, x, y + 0.4 * leading, width, room - 0.4 * leading) + 0.5 * leading
        elif 0.52 < chance < 0.54 and room > 6 * leading and not flow.continues:
            y = _quotation(canvas, rng, style, x, y + 0.5 * leading, width, room - 0.5 * leading)
        elif 0.54 < chance < 0.54 + 0.1 * flow.appetite and room > 16 * leading and not flow.continues:
            y = captioned_float(canvas, rng, style, x, y + leading, width, room * rng.uniform(0.4, 0.95) - leading)
        else:
            y = _paragraph(canvas, rng, style, flow, x, y, width, room)
        after_heading = False


def _headings(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, spaced: bool
) -> float:
    """Set a heading, now and then with a lower one right below it."""
    leading = style.body.leading
    y += leading * rng.uniform(0.7, 1.6) * spaced
    level = int(rng.random() < 0.45)
    y = heading(canvas, rng, style, x, y, width, level) + leading * rng.uniform(0.15, 0.8)
    if level == 0 and rng.random() < 0.2:
        y = heading(canvas, rng, style, x, y, width, 1) + leading * rng.uniform(0.15, 0.5)
    return y


def _quotation(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set an indented quotation in small type, annotated as text."""
    inset = rng.uniform(0.04, 0.12) * width
    lines = min(rng.randint(2, 9), int(room / style.small.leading))
    with canvas.annotate("text"):
        y = set_lines(canvas, rng, style.small, x + inset, y, width - 1.5 * inset, lines)
    return y + 0.5 * style.body.leading


def _paragraph(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    flow: Flow,
    x: float,
    y: float,
    width: float,
    room: float,
) -> float:
    leading = style.body.leading
    wanted = rng.choice((2, 4, 6, 8, 10, 13, 17, 24))
    if len(canvas.boxes) > MAX_BOXES:
        wanted = 60  # more lines than most columns have left
    lines = min(wanted, int(room / leading))
    cut = lines < wanted
    y = paragraph(canvas, rng, style, x, y, width, lines, starts=not flow.continues, ends=not cut)
    flow.continues = cut
    if not cut and rng.random() < style.mathematics and room - lines * leading > 6 * leading:
        y = equation(canvas, rng, style, x, y, width)
        flow.continues = rng.random() < 0.6
        return y
    return y + style.paragraph_gap


def _footnote(canvas: Canvas, rng: random.Random, style: Style, x: float, width: float, bottom: float) -> float:
    lines = rng.randint(1, 4)
    y = bottom - lines * style.small.leading
    canvas.line([(x, y - 2 * style.point), (x + width * 0.3, y - 2 * style.point)], BLACK)
    with canvas.annotate("text"):
        set_lines(canvas, rng, style.small, x, y, width, lines)
    return y - style.small.leading
