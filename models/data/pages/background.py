"""What is around the objects of a page and none of them: heads, feet, margins, stamps, watermarks and signatures."""

import math
import random

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.style import Style
from models.data.pages.words import person, phrase

GREY: Colour = (130, 130, 130)


def surround(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Draw head, foot and margins around the type area; nothing of it is annotated."""
    if rng.random() < 0.75:
        _head(canvas, rng, style)
    if rng.random() < 0.8:
        _foot(canvas, rng, style)
    margin = rng.random()
    if margin < 0.07:
        line_numbers(canvas, rng, style)
    elif margin < 0.12:
        _margin_notes(canvas, rng, style)
    elif margin < 0.16:
        x = rng.choice((style.left * 0.4, canvas.width - (canvas.width - style.right) * 0.3))
        canvas.vertical_text(phrase(rng, rng.randint(3, 8)), x, canvas.height / 2, style.small.regular, GREY)
    if rng.random() < 0.05:
        watermark(canvas, rng, style)


def _head(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Write one or two lines above the type area, at times on a bar, over a rule or beside a logo."""
    point, small = style.point, style.small
    y = style.top - rng.uniform(14, 26) * point
    face = rng.choice((small.regular, small.italic, small.bold, style.body.regular, style.body.bold))
    ink: Colour = rng.choice((BLACK, BLACK, GREY, style.accent))
    mode = rng.random()
    if mode < 0.15:  # a bar over the whole page or the type area
        wide = rng.random() < 0.5
        left, right = (0, canvas.width) if wide else (style.left, style.right)
        canvas.rectangle(left, y - face.size * 1.2, right, y + face.size * 0.6, fill=style.accent)
        ink = WHITE
    elif mode < 0.45:
        canvas.rectangle(style.left, y + 4 * point, style.right, y + 4 * point + max(0.0, point - 1), fill=ink)
    elif mode < 0.6:
        _logo(canvas, rng, style, style.left, y - 12 * point, 14 * point)
    parts = [phrase(rng, rng.randint(1, 5)), str(rng.randint(1, 900)), f"{person(rng)} et al.", phrase(rng, 2).upper()]
    rng.shuffle(parts)
    inset = face.size * (0.5 if mode < 0.15 else 0.0)
    places = [0.5, 1.0] if 0.45 <= mode < 0.6 else [0.0, 1.0, 0.5]
    for place, part in zip(places[: rng.randint(1, 3)], parts, strict=False):
        canvas.text(part, style.left + inset + place * (style.width - 2 * inset), y, face, ink, place)
    if rng.random() < 0.2 and mode > 0.6 and y > 26 * point:
        canvas.text(phrase(rng, rng.randint(2, 6)), style.left, y - small.leading, small.regular, ink)


def _foot(canvas: Canvas, rng: random.Random, style: Style) -> None:
    point, face = style.point, style.small.regular
    y = style.bottom + rng.uniform(16, 28) * point
    number = rng.choice(("{}", "- {} -", "Page {}", "Page {} of 240", "| {}", "[{}]")).format(rng.randint(1, 240))
    if rng.random() < 0.3:
        canvas.rectangle(style.left, y - 10 * point, style.right, y - 10 * point, fill=rng.choice((BLACK, GREY)))
    if rng.random() < 0.5:
        place = rng.choice((0.0, 0.5, 0.5, 1.0))
        canvas.text(number, style.left + place * style.width, y, face, anchor=place)
        return
    canvas.text(number, style.right, y, face, anchor=1.0)
    ink = rng.choice((BLACK, GREY))
    for i in range(rng.choice((1, 1, 2, 3))):
        canvas.text(phrase(rng, rng.randint(3, 8)), style.left, y + i * style.small.leading, face, ink)


def _logo(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, size: float) -> None:
    shape = rng.randrange(3)
    if shape == 0:
        canvas.ellipse(x, y, x + size, y + size, fill=style.accent)
    elif shape == 1:
        canvas.rectangle(x, y, x + size, y + size, fill=style.accent)
    else:
        canvas.polygon([(x, y + size), (x + size / 2, y), (x + size, y + size)], fill=style.accent)
    canvas.text(phrase(rng, 1), x + size * 1.2, y + size * 0.75, style.body.bold, style.accent)


def line_numbers(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Number the lines of the type area in the left margin, each or each fifth one."""
    leading, step = style.body.leading, rng.choice((1, 1, 5))
    number = rng.randint(0, 30) * 10
    ink = rng.choice((GREY, BLACK))
    for i in range(int((style.bottom - style.top) / leading)):
        if (number + i) % step == 0:
            y = style.top + (i + 0.8) * leading
            canvas.text(str(number + i), style.left - 9 * style.point, y, style.small.regular, ink, 1.0)


def _margin_notes(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Write a few words of small type into the wider margin, and a change bar."""
    room = max(style.left, canvas.width - style.right) - 12 * style.point
    x = 5 * style.point if style.left > canvas.width - style.right else style.right + 7 * style.point
    for _ in range(rng.randint(1, 4)):
        y = rng.uniform(style.top, style.bottom)
        for _ in range(rng.randint(1, 4)):
            word = style.small.italic.fitting_word(rng, room)
            if word is not None:
                canvas.word(word, x, y, rng.choice((BLACK, GREY)))
            y += style.small.leading


def watermark(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Write a pale word across the page; call it before anything darker is drawn."""
    word = rng.choice(("DRAFT", "COPY", "SAMPLE", "CONFIDENTIAL", "PREPRINT"))
    face = style.title_face.scaled(rng.uniform(2.5, 4.5) * 5 / len(word))
    shade = rng.randint(205, 235)
    ink = rng.choice(((shade, shade, shade), (255, shade, shade), (shade, shade, 255)))
    canvas.slanted_text(word, canvas.width / 2, canvas.height / 2, face, rng.uniform(25, 60), ink)


def stamp(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float) -> None:
    """Put a slanted rubber stamp with its middle at (x, y)."""
    word = rng.choice(("RECEIVED", "APPROVED", "COPY", "PAID", "FILED", "URGENT", "CONFIDENTIAL"))
    ink = rng.choice(((170, 30, 40), (40, 60, 150), (60, 60, 60), BLACK))
    face, angle = style.body.bold.scaled(rng.uniform(1.2, 2.2)), rng.uniform(-30, 30)
    canvas.slanted_text(word, x, y, face, angle, ink)
    half = face.string(word).advance / 2 + face.size * 0.5, face.size * 0.75
    cos, sin = math.cos(math.radians(-angle)), math.sin(math.radians(-angle))
    corners = [(-half[0], -half[1]), (half[0], -half[1]), (half[0], half[1]), (-half[0], half[1])]
    frame = [(x + cx * cos - cy * sin, y + cx * sin + cy * cos) for cx, cy in corners]
    canvas.line([*frame, frame[0]], ink, style.point)


def signature(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float) -> None:
    """Scribble a signature `width` pixels wide around the height y."""
    ink = rng.choice((BLACK, (20, 30, 120)))
    loops, reach = rng.randint(4, 9), style.body.leading * rng.uniform(0.4, 0.9)
    points = []
    for i in range(12 * loops):
        t = i / (12 * loops - 1)
        fall = (1 - 0.7 * t) * reach
        turn = 2 * math.pi * loops * t
        points.append((x + width * t + math.cos(turn) * reach * 0.4, y - math.sin(turn) * fall * rng.uniform(0.8, 1.2)))
    canvas.line(points, ink, max(1.0, style.point * 0.8))
