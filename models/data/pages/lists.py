"""Bulleted and numbered lists, and reference lists: one box for each part in a column."""

import random

from models.data.pages.canvas import Canvas
from models.data.pages.style import Style
from models.data.pages.text_blocks import set_lines
from models.data.pages.words import person

_MARKERS = ("•", "•", "•", "\u2013", "{}.", "{}.", "({})", "{})", "({a})", "({r})", "■")


def _marker(pattern: str, number: int) -> str:
    roman = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")[(number - 1) % 10]
    return pattern.format(number, a=chr(97 + (number - 1) % 26), r=roman)


def item_list(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float) -> float:
    """Set a bulleted or numbered list of 2 to 8 items in at most `room` pixels of height."""
    pattern = rng.choice(_MARKERS)
    text = style.body
    size = text.regular.size
    indent = rng.choice((0.0, 0.5, 1.0, 2.0)) * size
    hanging = size * (rng.uniform(0.9, 1.6) if len(pattern) == 1 else rng.uniform(1.4, 2.2))
    gap = rng.choice((0.0, 0.0, 0.3, 0.6)) * text.leading
    bottom = y + room
    number = 1 if rng.random() < 0.85 else rng.randint(2, 6)
    longest = rng.choice((1, 2, 4, 6))
    with canvas.annotate("list"):
        for _ in range(rng.randint(2, 8)):
            lines = min(rng.randint(1, longest), int((bottom - y) / text.leading))
            if lines < 1:
                break
            baseline = y + text.leading * 0.5 + size * 0.3
            canvas.text(_marker(pattern, number), x + indent, baseline, text.regular)
            y = set_lines(canvas, rng, text, x + indent + hanging, y, width - indent - hanging, lines) + gap
            number += 1
    return y - gap


def reference_list(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    y: float,
    width: float,
    room: float,
    number: int,
) -> tuple[float, int]:
    """Fill `room` pixels with references from `number` on; style by style numbered or hanging.

    Returns the y below and the next number.
    """
    text = style.small
    numbered = style.heading_numbers or style.caption_centred
    hanging = text.regular.size * (2.2 if numbered else 1.4)
    gap = style.paragraph_gap * 0.6
    bottom = y + room
    with canvas.annotate("list"):
        while int((bottom - y) / text.leading) >= 1:
            lines = min(rng.choice((1, 2, 2, 2, 3, 3, 4)), int((bottom - y) / text.leading))
            lead = [(f"{person(rng)},", text.regular)]
            if numbered:
                pattern = "[{}]" if style.caption_above_figure or style.indent else "{}."
                baseline = y + text.leading * 0.5 + text.regular.size * 0.3
                canvas.text(pattern.format(number), x + hanging * 0.75, baseline, text.regular, anchor=0.75)
                y = set_lines(canvas, rng, text, x + hanging, y, width - hanging, lines, lead=lead)
            else:
                y = set_lines(canvas, rng, text, x, y, width, lines, hanging=hanging, lead=lead)
            y += gap
            number += 1
    return y - gap, number
