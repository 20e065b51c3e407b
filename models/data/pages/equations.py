"""Displayed equations with fractions, sums, roots, matrices and cases, numbered at the right."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.data.pages.canvas import Canvas
from models.data.pages.fonts import Face
from models.data.pages.style import Style

_GREEK = "αβγδεθλμπρστφψω"
_RELATIONS = ("=", "=", "=", "≈", "≤", "≥", "<", ">")
_SIGNS = "+\u2212·"
_FUNCTIONS = ("log", "exp", "sin", "cos", "max", "min", "Var", "Pr", "E")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a formula: its width and reach above and below the baseline in pixels, and how it is drawn there."""

    width: float
    above: float
    below: float
    draw: Callable[[Canvas, float, float], None]


def display_equation(
    canvas: Canvas, rng: random.Random, style: Style, x: float, y: float, width: float, room: float
) -> float:
    """Set one to three displayed equations as one annotated text; return the y below, `y` where they do not fit."""
    body = style.body
    rows = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        pieces = [formula(rng, body.italic, body.regular, terms) for terms in (3, 2, 1)]
        rows.append(next((piece for piece in pieces if piece.width < 0.82 * width), pieces[-1]))
    gap = body.leading * rng.uniform(0.3, 0.8)
    used = sum(piece.above + piece.below for piece in rows) + gap * (len(rows) + 1)
    if used > room or any(piece.width > 0.84 * width for piece in rows):
        return y
    numbered = rng.random() < 0.65
    number = rng.randint(1, 40)
    widest = max(piece.width for piece in rows)
    left = x + rng.choice((0.5, 0.5, 0.5, 0.1)) * (0.88 * width - widest)
    with canvas.annotate("text"):
        for i, piece in enumerate(rows):
            y += gap + piece.above
            piece.draw(canvas, left if len(rows) > 1 else left + (widest - piece.width) / 2, y)
            if numbered and i == len(rows) - 1:
                canvas.text(f"({number})", x + width, y, body.regular, anchor=1.0)
            y += piece.below
    return y + gap


def formula(rng: random.Random, italic: Face, upright: Face, terms: int) -> Piece:
    """Draw a formula of `terms` terms at the right of a relation."""
    left = _atom(rng, italic, upright)
    pieces = [left, _text(f" {rng.choice(_RELATIONS)} ", upright)]
    for i in range(terms):
        if i:
            pieces.append(_text(f" {rng.choice(_SIGNS)} ", upright))
        kind = rng.choice((_atom, _product, _fraction, _fraction, _sum, _root, _bracket, _function))
        pieces.append(kind(rng, italic, upright))
    if rng.random() < 0.08:
        pieces.append(_matrix(rng, italic, upright))
    return _row(pieces)


def _text(string: str, face: Face) -> Piece:
    pad = face.space * (len(string) - len(string.strip())) / 2
    word = face.string(string.strip())
    above, below = -word.top, word.top + word.ink.shape[0]

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        canvas.word(word, x + pad, baseline)

    return Piece(word.advance + 2 * pad, max(above, 0), max(below, 0), draw)


def _row(pieces: Sequence[Piece]) -> Piece:
    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        for piece in pieces:
            piece.draw(canvas, x, baseline)
            x += piece.width

    above, below = max(piece.above for piece in pieces), max(piece.below for piece in pieces)
    return Piece(sum(piece.width for piece in pieces), above, below, draw)


def _atom(rng: random.Random, italic: Face, upright: Face) -> Piece:
    """Draw a letter, at times with an index, an exponent or both."""
    letter = _text(rng.choice("abcdefghijkmnpqrstuvwxyzABCDEFGHKLMNPQRSTUVWXYZ" + _GREEK), italic)
    small = upright.scaled(0.7)
    raised = _text(rng.choice(("2", "n", "i", "k", "\u22121", "T", "*")), small) if rng.random() < 0.3 else None
    lowered = _text(rng.choice(("0", "1", "i", "j", "ij", "t", "max", "k+1")), small) if rng.random() < 0.5 else None
    rise, drop = italic.size * 0.42, italic.size * 0.18

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        letter.draw(canvas, x, baseline)
        if raised is not None:
            raised.draw(canvas, x + letter.width, baseline - rise)
        if lowered is not None:
            lowered.draw(canvas, x + letter.width, baseline + drop)

    above = max(letter.above, 0.0 if raised is None else raised.above + rise)
    below = max(letter.below, 0.0 if lowered is None else lowered.below + drop)
    scripts = max((piece.width for piece in (raised, lowered) if piece is not None), default=0.0)
    return Piece(letter.width + scripts, above, below, draw)


def _product(rng: random.Random, italic: Face, upright: Face) -> Piece:
    return _row([_atom(rng, italic, upright) for _ in range(rng.randint(2, 3))])


def _simple(rng: random.Random, italic: Face, upright: Face) -> Piece:
    pieces = [_atom(rng, italic, upright)]
    for _ in range(rng.choice((0, 1, 1, 2))):
        pieces += [_text(f" {rng.choice(_SIGNS[:2])} ", upright), _atom(rng, italic, upright)]
    return _row(pieces)


def _fraction(rng: random.Random, italic: Face, upright: Face) -> Piece:
    top, bottom = _simple(rng, italic, upright), _simple(rng, italic, upright)
    width = max(top.width, bottom.width) + italic.size * 0.3
    axis, gap = italic.size * 0.28, italic.size * 0.15

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        bar = baseline - axis
        top.draw(canvas, x + (width - top.width) / 2, bar - gap - top.below)
        canvas.line([(x + 1, bar), (x + width - 2, bar)], thickness=italic.size / 16)
        bottom.draw(canvas, x + (width - bottom.width) / 2, bar + gap + bottom.above)

    above, below = axis + gap + top.above + top.below, bottom.above + bottom.below + gap - axis
    return Piece(width, above, below, draw)


def _sum(rng: random.Random, italic: Face, upright: Face) -> Piece:
    big, small = upright.scaled(1.6), upright.scaled(0.65)
    sign = _text(rng.choice("∑∑∫∏"), big)
    over, under = _text(rng.choice(("n", "N", "∞", "T")), small), _text(rng.choice(("i=1", "k=0", "t", "j∈S")), small)
    term = _row([_atom(rng, italic, upright) for _ in range(rng.randint(1, 2))])
    width = max(sign.width, over.width, under.width)
    drop = big.size * 0.18
    above, below = sign.above - drop + over.above + over.below + 1, sign.below + drop + under.above + under.below + 1

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        sign.draw(canvas, x + (width - sign.width) / 2, baseline + drop)
        over.draw(canvas, x + (width - over.width) / 2, baseline + drop - sign.above - over.below - 1)
        under.draw(canvas, x + (width - under.width) / 2, baseline + drop + sign.below + under.above + 1)
        term.draw(canvas, x + width + 2, baseline)

    return Piece(width + 2 + term.width, max(above, term.above), max(below, term.below), draw)


def _root(rng: random.Random, italic: Face, upright: Face) -> Piece:
    inside = _simple(rng, italic, upright)
    hook, line = italic.size * 0.5, italic.size / 16
    above = inside.above + italic.size * 0.15

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        foot, top = baseline + inside.below, baseline - above
        points = [(x, baseline - italic.size * 0.25), (x + hook * 0.5, foot), (x + hook, top)]
        canvas.line([*points, (x + hook + inside.width, top)], thickness=line)
        inside.draw(canvas, x + hook, baseline)

    return Piece(hook + inside.width + 2, above + 1, inside.below + 1, draw)


def _fenced(inside: Piece, size: float, fence: str) -> Piece:
    """Put brackets as high as what they hold around it: square, straight, or a brace at the left alone."""
    arm = size * 0.25
    width = inside.width + 3 * arm

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        top, foot = baseline - inside.above, baseline + inside.below
        inside.draw(canvas, x + 1.5 * arm, baseline)
        for at, turn in ((x, arm), (x + width - arm * 0.5, -arm)):
            if fence == "straight":
                canvas.line([(at, top), (at, foot)], thickness=size / 16)
            elif turn > 0 or fence == "square":
                canvas.line([(at + turn, top), (at, top), (at, foot), (at + turn, foot)], thickness=size / 16)

    return Piece(width, inside.above, inside.below, draw)


def _bracket(rng: random.Random, italic: Face, upright: Face) -> Piece:
    inside = rng.choice((_simple, _fraction))(rng, italic, upright)
    if inside.above < 1.2 * italic.size:
        return _row([_text("(", upright), inside, _text(")", upright)])
    return _fenced(inside, italic.size, rng.choice(("square", "straight")))


def _function(rng: random.Random, italic: Face, upright: Face) -> Piece:
    name = _text(rng.choice(_FUNCTIONS), upright)
    return _row([name, _text("(", upright), _simple(rng, italic, upright), _text(")", upright)])


def _matrix(rng: random.Random, italic: Face, upright: Face) -> Piece:
    rows, columns = rng.randint(2, 4), rng.randint(2, 4)
    cells = [[_atom(rng, italic, upright) for _ in range(columns)] for _ in range(rows)]
    wide = max(cell.width for row in cells for cell in row) + italic.size * 0.8
    high = italic.size * 1.5
    above = rows * high / 2 + italic.size * 0.3

    def draw(canvas: Canvas, x: float, baseline: float) -> None:
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                cell.draw(canvas, x + j * wide + (wide - cell.width) / 2, baseline - above + (i + 0.75) * high)

    inside = Piece(columns * wide, above, rows * high - above, draw)
    return _fenced(inside, italic.size, rng.choice(("square", "square", "brace", "straight")))
