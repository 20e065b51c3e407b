"""Lists of short lines: nested bullets, contributors, addresses, references, contents, charts and check boxes.

Each is one object of class list, whatever it holds.
"""

import random
from collections.abc import Callable

from models.data.pages.canvas import BLACK, Canvas, Colour
from models.data.pages.headings import various_heading
from models.data.pages.style import Style, TextStyle
from models.data.pages.text_blocks import set_lines, wrapped
from models.data.pages.words import person, phrase

_BULLETS = ("•", "\u2013", "■", "-", "o", "*", "»")


def short_list(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set one annotated list of a drawn kind; return the y below it, `y` where fewer than three lines fit."""
    text = rng.choice((style.body, style.body, style.small))
    kind: Callable[..., float] = rng.choice(
        (nested, nested, _contributors, _contributors, _addresses, _references, _contents, _chart, check_boxes)
    )
    gap = rng.uniform(0.4, 0.8) * text.leading
    if room < 5 * text.leading:
        return y
    with canvas.annotate("list"):
        end = kind(canvas, rng, text, x, y + gap, width, y + room)
    return end + gap


def titled_list(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set a heading and a list below it."""
    if room < 12 * style.body.leading:
        return y
    below = various_heading(canvas, rng, style, x, y, width, room)
    return short_list(canvas, rng, style, x, below, width, y + room - below)


def nested(
    canvas: Canvas,
    rng: random.Random,
    text: TextStyle,
    x: float,
    y: float,
    width: float,
    bottom: float,
    *,
    ink: Colour = BLACK,
) -> float:
    """Set bullets within bullets, without annotation, down to `bottom` at most."""
    marks = rng.sample(_BULLETS, 3) if rng.random() < 0.7 else ["{n}.", "{a}.", "•"]
    level, numbers = 0, [0, 0, 0]
    step = text.regular.size * rng.uniform(1.2, 2.2)
    gap, longest = text.leading * rng.choice((0.0, 0.2, 0.5)), rng.choice((1, 2, 3))
    for i in range(rng.randint(4, 16)):
        level = 0 if i == 0 else max(0, min(2, level + rng.choice((-1, -1, 0, 0, 0, 1))))
        numbers[level] += 1
        lines = rng.randint(1, longest)
        if y + lines * text.leading > bottom:
            break
        mark = marks[level].format(n=numbers[level], a=chr(96 + (numbers[level] - 1) % 26 + 1))
        left = x + level * step
        canvas.text(mark, left, y + text.leading * 0.5 + text.regular.size * 0.3, text.regular, ink)
        y = set_lines(canvas, rng, text, left + step, y, x + width - left - step, lines, ink=ink) + gap
    return y - gap


def _lines(
    canvas: Canvas,
    rng: random.Random,
    text: TextStyle,
    x: float,
    y: float,
    width: float,
    bottom: float,
    make: Callable[[], str],
) -> float:
    """Set made lines one below another, some gaps between, as one column; what is too long for a line is left out."""
    gaps, bold = rng.choice((0.0, 0.0, 0.2)), rng.random() < 0.15
    for i in range(rng.randint(4, 24)):
        if y + text.leading > bottom:
            break
        face = text.bold if bold and i % 4 == 0 else text.regular
        canvas.text(wrapped(make(), face, width)[0], x, y + text.leading * 0.5 + text.regular.size * 0.3, face)
        y += text.leading * (1 + rng.choice((0.0, 0.6)) * gaps * 5 * (i % 4 == 3))
    return y


def _contributors(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set names, each with a role, at times in two or three columns."""
    count = rng.choice((1, 1, 1, 2, 3)) if width > 30 * text.regular.size else 1
    pattern = rng.choice(("{p}", "{p}, {w}", "{w}: {p}", "{p} ({w})"))
    end = y
    for k in range(count):
        left = x + k * width / count
        end = max(
            end,
            _lines(
                canvas,
                rng,
                text,
                left,
                y,
                width / count,
                bottom,
                lambda: pattern.format(p=person(rng), w=phrase(rng, 1)),
            ),
        )
    return end


def _addresses(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set addresses of three to five lines each."""
    for _ in range(rng.randint(2, 8)):
        lines = [person(rng), phrase(rng, rng.randint(1, 3)), f"{rng.randint(1, 400)} {phrase(rng, 2)}"]
        lines += [
            f"{rng.randint(1000, 99999)} {phrase(rng, 1)}",
            f"Tel. {rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
        ]
        lines = lines[: rng.randint(3, 5)]
        if y + len(lines) * text.leading > bottom:
            break
        for i, line in enumerate(lines):
            face = text.bold if i == 0 and rng.random() < 0.5 else text.regular
            canvas.text(wrapped(line, face, width)[0], x, y + text.leading * 0.5 + text.regular.size * 0.3, face)
            y += text.leading
        y += text.leading * 0.6
    return y


def _references(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set numbered references."""
    pattern = rng.choice(("[{}]", "{}.", "({})", "{}"))
    hanging = text.regular.size * 2.4
    number = rng.choice((1, rng.randint(1, 80)))
    for _ in range(rng.randint(4, 40)):
        lines = rng.choice((1, 2, 2, 3))
        if y + lines * text.leading > bottom:
            break
        canvas.text(pattern.format(number), x, y + text.leading * 0.5 + text.regular.size * 0.3, text.regular)
        lead = [(f"{person(rng)},", text.regular)]
        y = set_lines(canvas, rng, text, x + hanging, y, width - hanging, lines, lead=lead)
        number += 1
    return y


def _contents(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set entries of a table of contents with dots up to the numbers of pages."""
    page, dots = rng.randint(1, 20), rng.random() < 0.7
    dot = text.regular.string("." * 5).advance / 5
    for i in range(rng.randint(5, 30)):
        if y + text.leading > bottom:
            break
        face = text.bold if rng.random() < 0.15 else text.regular
        baseline = y + text.leading * 0.5 + text.regular.size * 0.3
        left = x + text.regular.size * rng.choice((0.0, 0.0, 1.5))
        entry = wrapped(f"{i + 1} {phrase(rng, rng.randint(1, 4))}", face, width - 5 * text.regular.size)[0]
        used = canvas.text(entry, left, baseline, face)
        canvas.text(str(page), x + width, baseline, face, anchor=1.0)
        free = width - (left - x) - used - 3 * text.regular.size
        if dots and free > 3 * dot:
            canvas.text("." * int(free / dot), x + width - 2 * text.regular.size, baseline, text.regular, anchor=1.0)
        page += rng.randint(1, 12)
        y += text.leading
    return y


def _chart(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set ranks with a name and a title each."""
    ranks = iter(range(1, 100))
    return _lines(
        canvas,
        rng,
        text,
        x,
        y,
        width,
        bottom,
        lambda: f"{next(ranks)}  {person(rng)} \u2013 {phrase(rng, rng.randint(1, 3))}",
    )


def check_boxes(
    canvas: Canvas, rng: random.Random, text: TextStyle, x: float, y: float, width: float, bottom: float
) -> float:
    """Set lines that begin with an empty, crossed or filled box or circle."""
    size, round_ = text.regular.size * 0.75, rng.random() < 0.25
    for _ in range(rng.randint(3, 9)):
        lines = rng.choice((1, 1, 1, 2))
        if y + lines * text.leading > bottom:
            break
        base = y + text.leading * 0.5 + text.regular.size * 0.3
        (canvas.ellipse if round_ else canvas.rectangle)(x, base - size, x + size, base, outline=BLACK)
        if rng.random() < 0.3:
            canvas.line([(x, base - size), (x + size, base)])
            canvas.line([(x, base), (x + size, base - size)])
        y = set_lines(canvas, rng, text, x + 2 * size, y, width - 2 * size, lines, align="left")
        y += text.leading * 0.25
    return y
