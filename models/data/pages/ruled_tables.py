"""Tables as offices and reports set them: full grids, spanning cells, coloured headers, bands and sections."""

import random
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from models.data.pages.canvas import BLACK, WHITE, Canvas, Colour
from models.data.pages.fonts import Face
from models.data.pages.style import Style
from models.data.pages.text_blocks import wrapped
from models.data.pages.words import numeric_cells, person, phrase

_RULES = ("grid", "grid", "grid", "rows", "columns", "frame", "none")
_DARK: tuple[Colour, ...] = ((31, 56, 100), (68, 114, 196), (84, 130, 53), (120, 20, 30), (64, 64, 64), (0, 110, 120))
_PALE: tuple[Colour, ...] = ((217, 226, 243), (226, 239, 218), (242, 242, 242), (255, 242, 204), (252, 228, 214))


@dataclass(frozen=True, slots=True)
class Look:
    """How a table is ruled and coloured, and its columns: two tables may share one. Padding is in pixels."""

    rules: str
    line: Colour
    thickness: float
    header: Colour | None
    bands: Colour | None
    sections: float
    section: Colour | None
    first: Colour | None
    pad: float
    weights: tuple[float, ...]
    pools: tuple[tuple[str, ...] | None, ...]
    anchor: float
    groups: bool
    merges: float
    words: int
    empty: float


@dataclass(slots=True)
class _Row:
    """Lines of text by column; a cell covers as many columns as `spans` says, 0 where another covers it.

    A row is `joined` where its first cell is the one of the row above.
    """

    cells: list[list[str]]
    spans: list[int]
    face: Face
    ink: Colour = BLACK
    fill: Colour | None = None
    joined: bool = False
    height: float = 0.0
    centred: bool = False
    edges: list[float] = field(default_factory=list)


@lru_cache(maxsize=1)
def short_entries() -> tuple[tuple[str, ...], ...]:
    """Pools of short table entries, each pool of one kind."""
    rng = random.Random(13)
    money = tuple(f"{rng.choice('$$€£')}{rng.randint(1, 99)},{rng.randint(100, 999)}" for _ in range(40))
    dates = tuple(f"{rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{rng.randint(1970, 2024)}" for _ in range(40))
    codes = tuple(f"{rng.choice('ABCKMRT')}{rng.choice('ABX')}-{rng.randint(10, 999)}" for _ in range(40))
    years = tuple(str(rng.randint(1960, 2030)) for _ in range(40))
    shares = tuple(f"{rng.randint(0, 100)}%" for _ in range(40))
    words = ("Yes", "No", "High", "Low", "Medium", "None", "Pass", "Fail", "Open", "Closed", "Male", "Female", "n/a")
    marks = ("x", "x", "", "\u2013", "X", "•", "")
    levels = ("A", "B", "C", "D", "I", "II", "III", "IV")
    return (money, dates, codes, years, shares, words, marks, levels)


def draw_look(rng: random.Random, style: Style, width: float) -> Look:
    """Draw a look for tables about `width` pixels wide."""
    size = style.table.regular.size
    count = rng.randint(2, max(3, min(12, int(width / (size * 4.6)))))
    words = rng.choice((0, 1, 1, 1, 2, count)) if width / count > 6 * size else rng.choice((0, 1))
    pools = (*numeric_cells(), *short_entries())
    shared = [rng.choice(pools) for _ in range(3)]
    rules = rng.choice(_RULES)
    dark = rng.random() < 0.4
    header = rng.choice(_DARK if dark else _PALE) if rng.random() < 0.6 or rules == "none" else None
    return Look(
        rules=rules,
        line=rng.choice((BLACK, BLACK, (90, 90, 90), (160, 160, 160), header or BLACK)),
        thickness=max(1.0, style.point * rng.choice((0.4, 0.5, 0.7, 1.2))),
        header=header,
        bands=rng.choice(_PALE) if rng.random() < (0.3 if rules != "none" else 0.8) else None,
        sections=rng.choice((0.0, 0.0, 0.0, 0.08, 0.15)),
        section=rng.choice((None, *_PALE)),
        first=rng.choice(_PALE) if rng.random() < 0.12 else None,
        pad=size * rng.choice((0.1, 0.2, 0.3, 0.5)),
        weights=tuple(rng.uniform(1.5, 3.0) if i < words else rng.uniform(0.8, 1.2) for i in range(count)),
        pools=tuple(None if i < words else rng.choice(shared) for i in range(count)),
        anchor=rng.choice((0.0, 0.5, 0.5, 1.0)),
        groups=count > 3 and rng.random() < 0.35,
        merges=rng.choice((0.0, 0.0, 0.3, 0.6)),
        words=rng.choice((1, 2, 3, 6)),
        empty=rng.choice((0.0, 0.0, 0.05, 0.3)),
    )


def ruled_table(
    canvas: Canvas,
    rng: random.Random,
    style: Style,
    x: float,
    y: float,
    width: float,
    room: float,
    *,
    look: Look | None = None,
    rows: int | None = None,
) -> float:
    """Draw one annotated table of at most `room` pixels of height; return the y below it, `y` where none fits.

    `rows` are as many as wanted below the header; drawn where None.
    """
    look = look or draw_look(rng, style, width)
    edges = [x]
    for weight in look.weights:
        edges.append(edges[-1] + width * weight / sum(look.weights))
    wanted = rng.choice((rng.randint(1, 5), rng.randint(4, 12), rng.randint(8, 25))) if rows is None else rows
    planned = _header(rng, style, look, edges)
    used = sum(row.height for row in planned)
    heads = len(planned)
    while len(planned) < wanted + heads:
        row = _body_row(rng, style, look, edges, planned[heads:])
        if used + row.height > room - 2:
            break
        used += row.height
        planned.append(row)
    if len(planned) == heads or used > room:
        return y
    with canvas.annotate("table"):
        top = y
        for row in planned:
            _draw_row(canvas, style, look, edges, row, top)
            top += row.height
        _rules(canvas, look, edges, planned, heads, y)
    return top


def _header(rng: random.Random, style: Style, look: Look, edges: list[float]) -> list[_Row]:
    text = style.table
    face = rng.choice((text.bold, text.bold, text.bold, text.regular, text.italic))
    ink = WHITE if look.header is not None and sum(look.header) < 450 else BLACK
    count = len(look.weights)
    rows = []
    if look.groups:
        spans, cells, i = [1], [[""]], 1
        while i < count:
            span = min(rng.choice((2, 2, 3)), count - i)
            spans += [span] + [0] * (span - 1)
            cells += [_fitted(rng, face, edges[i + span] - edges[i] - 2 * look.pad, 2)] + [[]] * (span - 1)
            i += span
        rows.append(_Row(cells, spans, face, ink, look.header, centred=True))
    labels = [_fitted(rng, face, b - a - 2 * look.pad, rng.choice((1, 1, 2))) for a, b in pairwise(edges)]
    if rng.random() < 0.15:
        labels[0] = [""]
    rows.append(_Row(labels, [1] * count, face, ink, look.header, joined=look.groups, centred=rng.random() < 0.5))
    for row in rows:
        row.height = _height(style, look, row)
    return rows


def _body_row(rng: random.Random, style: Style, look: Look, edges: list[float], above: list[_Row]) -> _Row:
    text = style.table
    count = len(look.weights)
    if above and rng.random() < look.sections:
        label = _fitted(rng, text.bold, edges[-1] - edges[0] - 2 * look.pad, rng.choice((1, 2, 3)))[:1]
        row = _Row([label, *[[]] * (count - 1)], [count] + [0] * (count - 1), text.bold, fill=look.section)
    else:
        cells = []
        for left, right, pool in zip(edges, edges[1:], look.pools, strict=False):
            room = right - left - 2 * look.pad
            if rng.random() < look.empty:
                cells.append([""])
            elif pool is None:
                cells.append(_fitted(rng, text.regular, room, rng.randint(1, look.words)))
            else:
                entries = (rng.choice(pool), rng.choice(pool), str(rng.randint(0, 99)), str(rng.randint(0, 9)))
                cells.append([next((e for e in entries if text.regular.string(e).advance <= room), "")])
        if not any(line for lines in cells for line in lines):
            cells[0] = _fitted(rng, text.regular, edges[1] - edges[0] - 2 * look.pad, 1)
        fill = look.bands if len(above) % 2 else None
        row = _Row(cells, [1] * count, text.regular, fill=fill)
        if above and above[-1].spans[0] == 1 and rng.random() < look.merges:
            row.joined = True
            row.cells[0] = [""]
    row.height = _height(style, look, row)
    return row


def _height(style: Style, look: Look, row: _Row) -> float:
    return max(1, *map(len, row.cells)) * style.table.leading + 2 * look.pad


def _fitted(rng: random.Random, face: Face, room: float, count: int) -> list[str]:
    """Draw up to `count` words set in at most three lines that are no wider than `room`."""
    for words in (count, 1, 1):
        string = person(rng) if rng.random() < 0.08 else phrase(rng, words)
        lines = wrapped(string, face, room)[:3]
        if all(face.string(line).advance <= room for line in lines):
            return lines
    return [rng.choice(("n", "SD", "P", "All", "No."))]


def _draw_row(canvas: Canvas, style: Style, look: Look, edges: list[float], row: _Row, top: float) -> None:
    if row.fill is not None:
        canvas.rectangle(edges[0], top, edges[-1], top + row.height, fill=row.fill)
    elif look.first is not None and row.spans[0] == 1:
        canvas.rectangle(edges[0], top, edges[1], top + row.height, fill=look.first)
    leading = style.table.leading
    for i, (lines, span) in enumerate(zip(row.cells, row.spans, strict=True)):
        if not span:
            continue
        left, right = edges[i] + look.pad, edges[i + span] - look.pad
        anchor = 0.5 if row.centred else (0.0 if look.pools[i] is None or span > 1 else look.anchor)
        baseline = top + (row.height - len(lines) * leading) / 2 + leading * 0.5 + style.table.regular.size * 0.3
        for line in lines:
            if line:
                canvas.text(line, left + anchor * (right - left), baseline, row.face, row.ink, anchor)
            baseline += leading


def _rules(canvas: Canvas, look: Look, edges: list[float], rows: list[_Row], heads: int, y: float) -> None:
    """Draw the lines between cells where neither of two rows nor of two columns is joined."""
    left, right, thickness = edges[0], edges[-1], look.thickness
    tops = [y]
    for row in rows:
        tops.append(tops[-1] + row.height)

    def across(at: float, start: float, end: float) -> None:
        canvas.rectangle(start, at, end, at + thickness - 1, fill=look.line)

    def down(at: float, start: float, end: float) -> None:
        canvas.rectangle(at, start, at + thickness - 1, end, fill=look.line)

    if look.rules in ("grid", "rows"):
        for row, top in zip(rows[1:], tops[1:], strict=False):
            across(top, edges[1] if row.joined else left, right)
    if look.rules in ("grid", "columns"):
        for row, top, bottom in zip(rows, tops, tops[1:], strict=False):
            for i in range(1, len(edges) - 1):
                if row.spans[i]:
                    down(edges[i], top, bottom)
    if look.rules != "none" or look.header is None:
        across(tops[0], left, right)
        across(tops[-1], left, right)
        across(tops[heads], left, right)
    if look.rules in ("grid", "frame", "columns"):
        down(left, tops[0], tops[-1])
        down(right - thickness + 1, tops[0], tops[-1])
