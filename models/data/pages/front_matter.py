"""The head of a first page: banner, title, authors, affiliations and abstract."""

import random

from models.data.pages.canvas import BLACK, WHITE, Canvas
from models.data.pages.style import Style
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import person, phrase


def front_matter(canvas: Canvas, rng: random.Random, style: Style) -> float:
    """Draw the head of a first page and return the y below it."""
    y = _banner(canvas, rng, style, style.top)
    centred = rng.random() < 0.4
    place = 0.5 if centred else 0.0
    y = _title(canvas, rng, style, y, place)
    y = _authors(canvas, rng, style, y, centred)
    if style.columns > 1 and rng.random() < 0.3:
        return _information(canvas, rng, style, y) + style.body.leading * rng.uniform(0.8, 2)
    return _abstract(canvas, rng, style, y) + style.body.leading * rng.uniform(0.8, 2)


def _banner(canvas: Canvas, rng: random.Random, style: Style, y: float) -> float:
    point, face = style.point, style.small.regular
    if rng.random() < 0.5:
        height = rng.uniform(14, 40) * point
        if rng.random() < 0.5:
            canvas.rectangle(style.left, y - height, style.right, y, fill=style.accent)
            canvas.text(phrase(rng, 3), style.left + 6 * point, y - height * 0.35, style.body.bold, WHITE)
        else:
            canvas.line([(style.left, y), (style.right, y)], style.accent, point)
            canvas.text(phrase(rng, 3), style.left, y - 6 * point, style.title_face, style.accent)
            canvas.text(f"doi 10.{rng.randint(1000, 9999)}", style.right, y - 6 * point, face, anchor=1.0)
    else:
        for i in range(rng.randint(1, 4)):
            canvas.text(phrase(rng, rng.randint(2, 5)), style.left, y - i * style.small.leading, face)
    return y + rng.uniform(14, 40) * point


def _title(canvas: Canvas, rng: random.Random, style: Style, y: float, place: float) -> float:
    face = style.title_face
    if rng.random() < 0.35:
        canvas.text(phrase(rng, 2), style.left + place * style.width, y, style.body.bold, style.accent, place)
        y += face.size * 0.6
    colour = style.accent if rng.random() < 0.25 else BLACK
    with canvas.annotate("title"):
        for row in wrapped(phrase(rng, rng.randint(5, 15)), face, style.width * rng.uniform(0.75, 0.98)):
            y += face.size * 1.2
            canvas.text(row, style.left + place * style.width, y, face, colour, place)
    return y + face.size * rng.uniform(0.4, 1.0)


def _authors(canvas: Canvas, rng: random.Random, style: Style, y: float, centred: bool) -> float:
    align = "center" if centred else "left"
    text = style.body
    bold = rng.random() < 0.4
    lead = [(f"{person(rng)},", text.bold if bold else text.regular) for _ in range(rng.randint(2, 12))]
    lines = 1 + len(lead) // 7
    with canvas.annotate("text"):
        y = set_lines(canvas, rng, text, style.left, y, style.width, lines, align=align, lead=lead)
    y += text.leading * rng.uniform(0.2, 0.8)
    small = style.small
    for _ in range(rng.choice((1, 1, 2, 3))):
        with canvas.annotate("text"):
            y = set_lines(canvas, rng, small, style.left, y, style.width, rng.randint(1, 3), align=align)
        y += small.leading * rng.choice((0.0, 0.4))
    return y + text.leading * rng.uniform(0.5, 1.5)


def _information(canvas: Canvas, rng: random.Random, style: Style, y: float) -> float:
    """Set article information at the left, the abstract at the right, between two rules."""
    text, face, rule = style.small, style.heading_faces[1], style.point * 0.7
    split = style.left + style.width * rng.uniform(0.24, 0.34)
    depth = rng.randint(9, 20)
    canvas.line([(style.left, y), (style.right, y)], BLACK, rule)
    y += text.leading * 0.8
    for x, name in ((style.left, "ARTICLE INFO"), (split, "ABSTRACT")):
        with canvas.annotate("title"):
            canvas.text(name, x, y + text.leading, face, style.heading_colour)
    y += 2 * text.leading
    start = y
    for lines in (rng.randint(2, 3), rng.randint(3, 6)):
        with canvas.annotate("text"):
            end = set_lines(canvas, rng, text, style.left, start, (split - style.left) * 0.85, lines, align="left")
        start = end + text.leading
    with canvas.annotate("text"):
        y = set_lines(canvas, rng, text, split, y, style.right - split, depth)
    y = max(y, start) + text.leading * 0.8
    canvas.line([(style.left, y), (style.right, y)], BLACK, rule)
    return y


def _abstract(canvas: Canvas, rng: random.Random, style: Style, y: float) -> float:
    text, point = rng.choice((style.body, style.small)), style.point
    x, width = style.left, style.width
    inset = rng.choice((0.0, 0.0, rng.uniform(0.03, 0.15))) * width
    sections = 1 if rng.random() < 0.6 else rng.randint(3, 5)
    depths = [rng.randint(6, 16) if sections == 1 else rng.randint(2, 5) for _ in range(sections)]
    titled = rng.random() < 0.6
    height = (sum(depths) + titled * 1.6) * text.leading + (sections - 1) * text.leading * 0.3
    boxed = rng.random()
    if boxed < 0.25:
        inset = 10 * point
        red, green, blue = (255 - (255 - value) // 9 for value in style.accent)
        canvas.rectangle(x, y - inset, x + width, y + height + inset, fill=(red, green, blue))
    elif boxed < 0.45:
        canvas.line([(x, y - 6 * point), (x + width, y - 6 * point)])
        canvas.line([(x, y + height + 6 * point), (x + width, y + height + 6 * point)])
    if titled:
        with canvas.annotate("title"):
            string = rng.choice(("Abstract", "ABSTRACT", "Summary", "Abstract"))
            canvas.text(string, x + inset, y + text.leading, style.heading_faces[1], style.heading_colour)
        y += 1.6 * text.leading
    names = ("Background:", "Methods:", "Results:", "Conclusions:", "Keywords:")
    for i, depth in enumerate(depths):
        lead = [(names[i], text.bold)] if sections > 1 else []
        with canvas.annotate("text"):
            y = set_lines(canvas, rng, text, x + inset, y, width - 2 * inset, depth, lead=lead)
        y += text.leading * 0.3
    return y + inset * (boxed < 0.25)
