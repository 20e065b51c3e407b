"""The parts that columns of reports, papers and typescripts are filled with."""

import random

from models.data.pages.canvas import Canvas
from models.data.pages.layout import captioned_float
from models.data.pages.lists import item_list
from models.data.pages.ruled_tables import Look, ruled_table
from models.data.pages.style import Style
from models.data.pages.text_blocks import caption, paragraph, set_lines


def running_text(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set an annotated paragraph, cut where the room ends."""
    wanted = rng.choice((1, 2, 3, 4, 5, 6, 8, 10, 14))
    lines = min(wanted, int(room / style.body.leading))
    if lines < 1:
        return y
    return paragraph(canvas, rng, style, x, y, width, lines, ends=lines == wanted)


def itemised(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float) -> float:
    """Set an annotated list."""
    gap = rng.uniform(0.3, 0.8) * style.body.leading
    if room < 4 * style.body.leading:
        return y
    return item_list(canvas, rng, style, x, y + gap, width, room - 2 * gap) + gap


def figure_with_caption(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Draw an annotated figure and its caption."""
    if room < 16 * style.body.leading:
        return y
    share = rng.uniform(0.35, 0.9) if room < 1.2 * width else rng.uniform(0.3, 0.5)
    return captioned_float(canvas, rng, style, x, y + 0.5 * style.body.leading, width, room * share, "figure")


def table_with_caption(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    y: float,
    width: float,
    room: float,
    *,
    look: Look | None = None,
    rows: int | None = None,
) -> float:
    """Draw an annotated ruled table with a caption above or below it, or none, and now and then a note.

    It has this look and so many rows where they are given.
    """
    text, leading = style.caption, style.body.leading
    start = y
    if room < 9 * leading:
        return start
    if rng.random() < 0.3:
        narrow = rng.uniform(0.55, 0.95)
        x, width = x + width * (1 - narrow) * rng.choice((0.0, 0.5)), width * narrow
    place = rng.choice(("above", "above", "above", "below", "none"))
    y += leading * rng.uniform(0.4, 1.0)
    reserve = 0.0
    if place == "above":
        y = caption(canvas, rng, style, x, y, width, 2 * text.leading, "table") + style.point * rng.uniform(1, 5)
    elif place == "below":
        reserve = 3 * text.leading
    top = y
    y = ruled_table(canvas, rng, style, x, y, width, start + room - y - reserve, look=look, rows=rows)
    if y == top:
        return y if place == "above" else start
    y += style.point * 4
    if place == "below":
        y = caption(canvas, rng, style, x, y, width, 2 * text.leading, "table")
    elif rng.random() < 0.2 and start + room - y > 3 * style.table.leading:
        with canvas.annotate("text"):
            y = set_lines(canvas, rng, style.table, x, y, width, rng.randint(1, 2))
    return y + leading * rng.uniform(0.3, 1.0)
