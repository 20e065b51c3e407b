"""Headings of many looks, and run-in headings, which are part of the paragraph's text."""

import random

from models.data.pages.canvas import BLACK, WHITE, Canvas
from models.data.pages.style import Style
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import phrase

_NUMBERS = ("{a}.", "{a}", "{a}.{b}", "{a}.{b}.", "{a}.{b}.{c}", "{r}.", "{A}.", "Section {a}:", "§ {a}", "Article {a}")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")


def various_heading(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set one annotated heading of one to three lines with room for text below; at times on a coloured bar."""
    body = style.body
    face = rng.choice((*style.heading_faces, body.bold, body.bold, body.italic, style.small.bold)).scaled(
        rng.choice((1.0, 1.0, 1.0, 1.25, 1.6))
    )
    number = ""
    if rng.random() < 0.45:
        a, b, c = (rng.randint(1, 9) for _ in range(3))
        number = rng.choice(_NUMBERS).format(a=a, b=b, c=c, r=_ROMAN[a % 8], A=chr(64 + a)) + " "
    words = rng.choice((1, 1, 2, 3, 4, 6, 9, 14))
    string = number + phrase(rng, words)
    if rng.random() < 0.15:
        string = string.upper()
    rows = wrapped(string, face, width * 0.97)[:3]
    leading = face.size * 1.2
    barred = rng.random() < 0.08
    gap = body.leading * rng.uniform(0.3, 1.0)
    height = gap + len(rows) * leading + barred * leading * 0.4
    if height + 3 * body.leading > room:
        return y
    anchor = rng.choice((0.0, 0.0, 0.0, 0.0, style.heading_align, 0.5))
    ink = style.heading_colour if rng.random() < 0.7 else rng.choice((style.accent, BLACK))
    y += gap
    if barred:
        dark = rng.random() < 0.6
        fill = style.accent if dark else rng.choice(((225, 225, 225), (210, 225, 240)))
        canvas.rectangle(x, y, x + width, y + height - gap, fill=fill)
        ink, x, width = WHITE if dark else BLACK, x + face.size * 0.4, width - face.size * 0.8
        y += leading * 0.2
    with canvas.annotate("title"):
        for row in rows:
            canvas.text(row, x + anchor * width, y + leading * 0.75, face, ink, anchor)
            y += leading
    if barred:
        return y + leading * 0.2 + body.leading * 0.3
    if rng.random() < 0.1:
        canvas.rectangle(x, y + 1, x + width, y + max(1.0, style.point * 0.6), fill=style.accent)
        y += 3 * style.point
    return y + body.leading * rng.choice((0.0, 0.2, 0.6))


def run_in_paragraph(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set a paragraph that begins with its heading in bold or italic type; all of it is one text."""
    text = style.body
    lines = min(rng.randint(2, 9), int(room / text.leading))
    if lines < 2:
        return y
    number = rng.choice(("", "", f"{rng.randint(1, 6)}.{rng.randint(1, 9)}. ", f"({rng.randint(1, 9)}) "))
    face = rng.choice((text.bold, text.italic))
    label = number + phrase(rng, rng.randint(1, 5)) + rng.choice((".", ":", " —", "."))
    lead = [(word, face) for word in label.split()]
    with canvas.annotate("text"):
        return set_lines(canvas, rng, text, x, y, width, lines, first_indent=style.indent, lead=lead)
