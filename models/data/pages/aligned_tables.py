"""Tables without rules: columns held apart by white space alone, as typewriters and plain text set them."""

import random

from models.data.pages.canvas import Canvas
from models.data.pages.ruled_tables import short_entries
from models.data.pages.style import Style
from models.data.pages.words import numeric_cells, person, phrase


def aligned_table(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Draw one annotated table of aligned words and numbers in the body's type; `y` comes back where none fits."""
    text = style.body
    advance = text.regular.string("0000000000").advance / 10
    columns, gap = _columns(rng, int(width / advance))
    dashed = rng.choice(("none", "none", "none", "head", "ends"))
    leading = text.leading * rng.choice((1.0, 1.0, 1.0, 1.3, 1.7))
    head = rng.random() < 0.75
    rows = min(int(room / leading) - 6, rng.choice((rng.randint(3, 8), rng.randint(6, 20), rng.randint(15, 45))))
    if rows < 2:
        return y
    blank = rng.choice((0, 0, 0, 5))  # an empty line after so many rows
    baseline = y + leading * rng.uniform(1.0, 1.9)
    total = sum(count for count, _ in columns) + gap * (len(columns) - 1)
    with canvas.annotate("table"):
        if head:
            _row(canvas, rng, style, x, baseline, advance, columns, gap, head=True)
            baseline += leading
            if dashed != "none":
                character = rng.choice("-=_")
                canvas.text(character * total, x, baseline - leading * 0.3, text.regular)
                baseline += leading * 0.5
        for i in range(rows):
            if blank and i and i % blank == 0 and i < rows - 1:
                baseline += leading * 0.6
            if baseline + leading * 0.4 > y + room:
                break
            _row(canvas, rng, style, x, baseline, advance, columns, gap, head=False)
            baseline += leading
        if dashed == "ends" and baseline + leading * 0.3 < y + room:
            canvas.text("-" * total, x, baseline - leading * 0.3, text.regular)
            baseline += leading * 0.6
    return baseline + leading * rng.uniform(0.4, 1.2)


Column = tuple[int, tuple[str, ...] | None]
"""Width in characters, and the pool of entries, None for words."""


def _columns(rng: random.Random, characters: int) -> tuple[list[Column], int]:
    pools = (*numeric_cells(), *short_entries())
    shared = [rng.choice(pools) for _ in range(2)]
    gap = rng.choice((2, 3, 4, 6))
    columns: list[Column] = [(rng.randint(9, 24), None)] if rng.random() < 0.85 else []
    left = characters - sum(count + gap for count, _ in columns)
    while left > 6 and len(columns) < 9:
        pool = rng.choice(shared) if rng.random() < 0.85 else None
        count = rng.randint(9, 16) if pool is None else max(map(len, pool))
        if count > left:
            break
        columns.append((count, pool))
        left -= count + gap
        if len(columns) > 2 and rng.random() < 0.12:
            break
    if len(columns) > 1 and rng.random() < 0.6:  # spread over the line
        gap += left // (len(columns) - 1)
    return columns, gap


def _row(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    baseline: float,
    advance: float,
    columns: list[Column],
    gap: int,
    *,
    head: bool,
) -> None:
    face = style.body.regular
    for i, (count, pool) in enumerate(columns):
        right = pool is not None
        if head:
            entry = phrase(rng, 1)[:count]
        elif pool is None:
            entry = (person(rng) if rng.random() < 0.3 else phrase(rng, rng.randint(1, 3)))[:count].strip()
        else:
            entry = rng.choice(pool) if i == 0 or rng.random() < 0.93 else ""
        if entry:
            canvas.text(entry, x + count * advance * right, baseline, face, anchor=float(right))
        x += (count + gap) * advance
