"""Tables: booktabs, grids, ruled rows, shaded rows and coloured headers, with cells of one or more lines."""

import random
from dataclasses import dataclass

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.fonts import Face
from models.data.pages.style import Style
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import numeric_cells, phrase


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: place in pixels, and a pool of numbers or None for words."""

    left: float
    right: float
    pool: tuple[str, ...] | None
    anchor: float


@dataclass(slots=True)
class Rows:
    """Where the rules of a table go: its sides, its top, and the bottom of every row from the header on."""

    left: float
    right: float
    top: float
    ends: list[float]


def table(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float) -> float:
    """Draw one annotated table body of at most `room` pixels of height and return the y below it."""
    text = style.table
    if rng.random() < 0.2:
        narrow = rng.uniform(0.5, 0.95)
        x, width = x + width * (1 - narrow) * rng.choice((0.0, 0.5, 0.5)), width * narrow
    pitch = text.leading * rng.choice((1.0, 1.0, 1.15, 1.4, 1.8))
    rules = style.table_rules
    columns = _columns(rng, style, x, width)
    wordy = sum(column.pool is None for column in columns) > 1
    most = max(2, int(room / pitch) - 2)
    rows = min(most, rng.choice((rng.randint(2, 6), rng.randint(5, 14), rng.randint(10, 50))))
    bottom = y + room
    thick, thin = max(1.0, style.point * rng.uniform(0.6, 1.2)), max(1.0, style.point * 0.5)
    pad = pitch * 0.12
    rows_drawn = Rows(x, x + width, y, [])
    lines = rows_drawn.ends
    with canvas.annotate("table"):
        y = _header(canvas, rng, style, columns, y)
        lines.append(y)
        drawn = 0
        while drawn < rows and y + pitch + pad <= bottom:
            section = drawn > 0 and rng.random() < 0.05
            depth = rng.choice((1, 1, 2, 2, 3, 4)) if wordy and not section else 1
            depth = max(1, min(depth, int((bottom - y - pad) / text.leading)))
            height = max(pitch, depth * text.leading + pitch - text.leading)
            if y + height + pad > bottom:
                break
            if rules == "shaded" and drawn % 2 == 0:
                canvas.rectangle(x, y, x + width, y + height, fill=_tint(style.accent))
            _row(canvas, rng, style, columns[:1] if section else columns, y + (pitch - text.leading) / 2, depth)
            y += height
            lines.append(y)
            drawn += 1
        y += pad if rules != "grid" else 0
        lines[-1] = y
        _rule(canvas, rules, columns, rows_drawn, thick, thin)
    return y


def _tint(colour: Colour) -> Colour:
    red, green, blue = (255 - (255 - value) // 8 for value in colour)
    return red, green, blue


def _columns(rng: random.Random, style: Style, x: float, width: float) -> list[Column]:
    size = style.table.regular.size
    count = rng.randint(2, max(2, min(11, int(width / (size * 5.5)))))
    wordy = 1 if rng.random() < 0.75 else rng.randint(2, count)
    weights = [rng.uniform(1.2, 3.0) if i < wordy else rng.uniform(0.8, 1.3) for i in range(count)]
    anchor = rng.choice((0.0, 0.0, 0.5, 0.5, 1.0))
    pools = [rng.choice(numeric_cells()) for _ in range(2)]
    columns: list[Column] = []
    left = x + (size * 0.3 if style.table_rules in ("grid", "shaded", "header") else 0.0)
    scale = (x + width - left) / sum(weights)
    for i, weight in enumerate(weights):
        right = left + weight * scale
        pool = None if i < wordy else pools[int(rng.random() < 0.3)]
        columns.append(Column(left, right - size * 0.5, pool, 0.0 if i < wordy else anchor))
        left = right
    return columns


def _header(canvas: Canvas, rng: random.Random, style: Style, columns: list[Column], y: float) -> float:
    text = style.table
    face = rng.choice((text.bold, text.bold, text.regular, text.italic))
    dark = style.table_rules == "header"
    labels = [wrapped(_label(rng, face, c.right - c.left), face, c.right - c.left)[:3] for c in columns]
    depth = max(len(rows) for rows in labels)
    height = depth * text.leading * 1.05 + text.leading * 0.3
    if dark or style.table_rules == "shaded":
        fill = style.accent if dark else _tint(_tint(style.accent))
        canvas.rectangle(columns[0].left - text.regular.size * 0.3, y, columns[-1].right, y + height, fill=fill)
    spanning = rng.random() < 0.2 and len(columns) > 3
    if spanning:
        middle = (columns[1].left + columns[-1].right) / 2
        canvas.text(phrase(rng, 2), middle, y + text.leading * 0.95, face, WHITE if dark else BLACK, 0.5)
        y += text.leading * 1.1
        if not dark:
            canvas.line([(columns[1].left, y), (columns[-1].right, y)])
    for i, (column, rows) in enumerate(zip(columns, labels, strict=True)):
        if i == 0 and rng.random() < 0.3:
            continue
        base = y + (depth - len(rows)) * text.leading
        at = column.left + column.anchor * (column.right - column.left)
        for row in rows:
            base += text.leading
            canvas.text(row, at, base, face, WHITE if dark else BLACK, column.anchor)
    return y + height


def _label(rng: random.Random, face: Face, width: float) -> str:
    """Draw a header of one to three words, each of which fits into `width` pixels where that can be."""
    for count in (rng.choice((1, 1, 1, 2, 3)), 1, 1, 1):
        label = phrase(rng, count)
        if max(face.word(word).advance for word in label.split()) <= width:
            return label
    return rng.choice(("n", "SD", "P", "All", "OR", "Mean"))


def _row(canvas: Canvas, rng: random.Random, style: Style, columns: list[Column], y: float, depth: int) -> None:
    text = style.table
    baseline = y + text.leading * 0.5 + text.regular.size * 0.3
    for column in columns:
        width = column.right - column.left
        if column.pool is None:
            lines = rng.randint(1, depth)
            set_lines(canvas, rng, text, column.left, y, width, lines, hanging=0.0)
        elif rng.random() > 0.04:
            cell = rng.choice(column.pool)
            if text.regular.word(cell).advance > width:
                cell = rng.choice(numeric_cells()[0])
            canvas.text(cell, column.left + column.anchor * width, baseline, text.regular, anchor=column.anchor)


def _rule(canvas: Canvas, rules: str, columns: list[Column], rows: Rows, thick: float, thin: float) -> None:
    left, right = rows.left, rows.right - 1
    if rules == "grid":
        for y in (rows.top, *rows.ends):
            canvas.line([(left, y), (right, y)], BLACK, thin)
        for at in (left, *(c.left - 2 * thin for c in columns[1:]), right):
            canvas.line([(at, rows.top), (at, rows.ends[-1])], BLACK, thin)
    elif rules != "none":
        for y in (rows.top, rows.ends[0], rows.ends[-1]):
            canvas.line([(left, y), (right, y)], BLACK, thin if y == rows.ends[0] else thick)
    if rules == "rows":
        for y in rows.ends:
            canvas.line([(left, y), (right, y)], (150, 150, 150), thin)
