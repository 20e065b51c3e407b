"""Lines of running text: paragraphs, headings, captions and displayed equations."""

import random
from collections.abc import Sequence
from contextlib import nullcontext

from models.data.pages.canvas import BLACK, Canvas, Colour
from models.data.pages.fonts import Face, Word
from models.data.pages.style import Style, TextStyle
from models.data.pages.words import phrase

Token = tuple[Word, Colour]


def _tokens(rng: random.Random, text: TextStyle, lead: Sequence[tuple[str, Face]], ink: Colour) -> "TokenSource":
    """Return the words that begin with `lead` and run on."""
    return TokenSource(rng, text, [(face.string(string), ink) for string, face in lead], ink)


class TokenSource:
    """An endless run of words with the odd citation, link, bold or italic stretch."""

    def __init__(self, rng: random.Random, text: TextStyle, lead: list[Token], ink: Colour) -> None:
        self._rng, self._text, self._lead, self._ink = rng, text, lead[::-1], ink
        self._face, self._left = text.regular, 0

    def next(self) -> Token:
        """Draw the next word."""
        if self._lead:
            return self._lead.pop()
        rng, text = self._rng, self._text
        if self._left:
            self._left -= 1
            return self._face.running_word(rng), self._ink
        chance = rng.random()
        if chance < text.citations:
            n = 1 + int(rng.random() * 60)
            return text.regular.word(f"[{n}]" if chance < text.citations * 0.7 else f"({1950 + n})"), (
                text.link if text.link != BLACK else self._ink
            )
        if chance > 1 - text.emphasis:
            self._face = text.italic if rng.random() < 0.7 else text.bold
            self._left = 1 + int(rng.random() * 5)
        return text.regular.running_word(rng), self._ink

    def fitting(self, room: float) -> Token | None:
        """Draw a word no wider than `room` pixels, or None."""
        if self._lead:
            return None
        word = self._text.regular.fitting_word(self._rng, room)
        return None if word is None else (word, self._ink)


def set_lines(
    canvas: Canvas,
    rng: random.Random,
    text: TextStyle,
    x: float,
    y: float,
    width: float,
    lines: int,
    *,
    align: str | None = None,
    first_indent: float = 0.0,
    hanging: float = 0.0,
    lead: Sequence[tuple[str, Face]] = (),
    finished: bool = True,
    ink: Colour = BLACK,
) -> float:
    """Set `lines` lines from the top y and return the y below them.

    `hanging` indents every line but the first; the last line is short when `finished`.
    """
    align = align or text.align
    source = _tokens(rng, text, lead, ink)
    space = text.regular.space
    for i in range(lines):
        indent = first_indent if i == 0 else hanging
        room = width - indent
        last = finished and i == lines - 1
        row, used = _fill(source, room * rng.uniform(0.15, 1.0) if last else room, space)
        gap = space
        if align == "justify" and not last and len(row) > 1:
            gap = (room - used) / (len(row) - 1)
            if gap > 5 * space:
                gap = space
        pen = x + indent
        if align == "center":
            pen += (room - used - gap * (len(row) - 1)) / 2
        baseline = y + i * text.leading + text.leading * 0.5 + text.regular.size * 0.3
        for word, colour in row:
            canvas.word(word, pen, baseline, colour)
            pen += word.advance + gap
    return y + lines * text.leading


def _fill(source: TokenSource, room: float, space: float) -> tuple[list[Token], float]:
    """Return the words of one line and the sum of their widths without spaces."""
    row: list[Token] = []
    used = 0.0
    least = space * 0.85
    while True:
        token = source.next()
        left = room - used - least * len(row)
        if token[0].advance > left:
            extra = source.fitting(left) or (None if row else token)
            if extra is None:
                break
            row.append(extra)
            used += extra[0].advance
            if not row or left - extra[0].advance < 2 * space:
                break
            continue
        row.append(token)
        used += token[0].advance
    return row, used


def paragraph(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    y: float,
    width: float,
    lines: int,
    *,
    starts: bool = True,
    ends: bool = True,
) -> float:
    """Set one annotated paragraph; one that does not start here has no indent, one cut off ends full."""
    lead: list[tuple[str, Face]] = []
    if starts and rng.random() < 0.04:
        lead = [(phrase(rng, rng.randint(1, 4)) + ".", rng.choice((style.body.italic, style.body.bold)))]
    with canvas.annotate("text"):
        return set_lines(
            canvas, rng, style.body, x, y, width, lines,
            first_indent=style.indent if starts else 0.0, lead=lead, finished=ends,
        )  # fmt: skip


def heading(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, level: int) -> float:
    """Set one annotated heading of level 0 or 1, on one or two lines, and return the y below it."""
    face = style.heading_faces[level]
    number = ""
    if style.heading_numbers:
        number = f"{rng.randint(1, 8)}. " if level == 0 else f"{rng.randint(1, 6)}.{rng.randint(1, 6)}. "
    string = number + phrase(rng, rng.choice((1, 1, 2, 3, 4, 6) if level == 0 else (2, 3, 5, 7, 9)))
    if style.heading_caps and level == 0:
        string = string.upper()
    leading = face.size * 1.18
    with canvas.annotate("title"):
        for row in wrapped(string, face, width)[:3]:
            canvas.text(
                row,
                x + style.heading_align * width,
                y + leading * 0.8,
                face,
                style.heading_colour,
                style.heading_align,
            )
            y += leading
    if style.heading_rule:
        canvas.line([(x, y + 1), (x + width, y + 1)], style.accent, style.point * 0.6)
        y += 2 * style.point
    return y


def wrapped(string: str, face: Face, width: float) -> list[str]:
    """Break a string into rows no wider than `width` pixels."""
    rows: list[str] = []
    row, used = "", 0.0
    for word in string.split():
        advance = face.word(word).advance + face.space
        if row and used + advance > width:
            rows.append(row)
            row, used = "", 0.0
        row, used = f"{row} {word}" if row else word, used + advance
    return [*rows, row]


def caption(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float, kind: str
) -> float:
    """Set the caption of a figure or table in at most `room` pixels of height; annotated as text."""
    text = style.caption
    most = max(1, int(room / text.leading))
    lines = min(rng.choice((1, 2, 2, 3, 4, 6) if kind == "figure" else (1, 1, 1, 2, 3)), most)
    label = style.caption_label.format(rng.randint(1, 9))
    if kind == "table":
        label = label.replace("FIGURE", "TABLE").replace("FIG.", "TABLE")
        label = label.replace("Figure", "Table").replace("Fig.", "Table")
    face = text.bold if style.caption_label != "Fig. {}" else text.italic
    with canvas.annotate("text"):
        centred = lines == 1 and style.caption_centred
        return set_lines(
            canvas, rng, text, x, y, width, lines, align="center" if centred else None, lead=[(label, face)]
        )


def equation(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float) -> float:
    """Set one displayed equation, annotated as text where the style wants it so."""
    with canvas.annotate("text") if style.labels_equations else nullcontext():
        return _equation(canvas, rng, style, x, y, width)


def _equation(canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float) -> float:
    body = style.body
    terms = [rng.choice("abcxyzkmnptuvw") + rng.choice(("", "(t)", "²", "_i")) for _ in range(rng.randint(2, 6))]
    string = f" {rng.choice('+-=')} ".join(terms)
    height = body.leading * rng.choice((1.6, 2.2, 3.0))
    middle = y + height / 2
    taken = canvas.text("E = " + string, x + width * 0.45, middle + body.regular.size * 0.3, body.italic, anchor=0.5)
    if height > 2 * body.leading:
        bar = x + width * 0.45 + taken / 2 + body.regular.size * 0.4
        canvas.text("\u03b1 x", bar, middle - body.regular.size * 0.25, body.italic)
        canvas.line([(bar, middle), (bar + body.regular.size * 2, middle)])
        canvas.text("2\u03b2", bar, middle + body.regular.size, body.italic)
    canvas.text(f"({rng.randint(1, 30)})", x + width, middle + body.regular.size * 0.3, body.regular, anchor=1.0)
    return y + height
