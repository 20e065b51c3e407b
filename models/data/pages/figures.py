"""Figures: one chart or picture, or a grid of panels with letters."""

import random

from models.data.pages.canvas import BLACK, WHITE, Canvas
from models.data.pages.charts import PALETTES, Rectangle, chart
from models.data.pages.diagrams import diagram
from models.data.pages.pictures import picture
from models.data.pages.style import Style

_LETTERS = ("{a}", "({a})", "{A}", "{A}", "{a})", "")


def figure(canvas: Canvas, rng: random.Random, style: Style, area: Rectangle) -> None:
    """Draw one annotated figure that fills `area` (x0, y0, x1, y1 in pixels) or nearly so."""
    x0, y0, x1, y1 = area
    size = style.label_face.size
    columns = max(1, min(rng.choice((1, 1, 2, 2, 3, 4)), int((x1 - x0) / (size * 11))))
    rows = max(1, min(rng.choice((1, 1, 1, 2, 2, 3)), int((y1 - y0) / (size * 9))))
    mode = rng.choice(("charts",) * 5 + ("pictures",) * 5 + ("mixed", "mixed", "diagram", "diagram"))
    if mode == "diagram":
        rows, columns = 1, min(columns, rng.choice((1, 1, 2)))
    with canvas.annotate("figure"):
        _panels(canvas, rng, style, area, rows, columns, mode)


def _panels(
    canvas: Canvas, rng: random.Random, style: Style, area: Rectangle, rows: int, columns: int, mode: str
) -> None:
    x0, y0, x1, y1 = area
    label = style.label_face
    palette = rng.choice(PALETTES)
    kind = rng.randrange(7)
    letters = rng.choice(_LETTERS) if rows * columns > 1 else ""
    gap = rng.choice((1.0, 3.0, 8.0)) * style.point
    inside = mode == "pictures" and rng.random() < 0.5
    wide, high = (x1 - x0 - gap * (columns - 1)) / columns, (y1 - y0 - gap * (rows - 1)) / rows
    for k in range(rows * columns):
        left, top = x0 + (k % columns) * (wide + gap), y0 + (k // columns) * (high + gap)
        head = label.size * 1.3 if letters and not inside else 0.0
        pictured = mode == "pictures" or (mode == "mixed" and rng.random() < 0.5)
        if pictured:
            image = picture(rng, int(high - head), int(wide), kind if rng.random() < 0.85 else None)
            canvas.picture(image, left, top + head)
        elif mode == "diagram":
            diagram(canvas, rng, label, palette, (left, top + head, left + wide, top + high))
        else:
            chart(canvas, rng, label, palette, (left, top + head, left + wide, top + high))
        if letters:
            letter = letters.format(a=chr(97 + k), A=chr(65 + k))
            colour = WHITE if inside and pictured and kind in (0, 3, 4, 5) else BLACK
            canvas.text(letter, left + label.size * 0.2, top + label.size, label, colour)
