"""Pages of reports, mathematics, tables and typescripts, composed of parts."""

import random
from collections.abc import Callable
from dataclasses import replace

from models.data.pages.aligned_tables import aligned_table
from models.data.pages.background import signature, stamp, surround
from models.data.pages.canvas import BLACK, Canvas
from models.data.pages.equations import display_equation
from models.data.pages.flow import Weighted, columns, fill
from models.data.pages.fonts import draw_family, draw_foreign_family
from models.data.pages.headings import run_in_paragraph, various_heading
from models.data.pages.layout import compose
from models.data.pages.parts import figure_with_caption, itemised, running_text, table_with_caption
from models.data.pages.ruled_tables import draw_look, ruled_table
from models.data.pages.short_lists import short_list, titled_list
from models.data.pages.style import Style, draw_style
from models.data.pages.text_blocks import caption, set_lines
from models.data.pages.words import person, phrase

_REPORT: Weighted = (
    (running_text, 6), (various_heading, 3), (run_in_paragraph, 1.2), (itemised, 0.7), (short_list, 0.5),
    (table_with_caption, 1.5), (figure_with_caption, 0.5), (display_equation, 0.3),
)  # fmt: skip
_MATHEMATICS: Weighted = (
    (running_text, 5), (display_equation, 4), (run_in_paragraph, 1), (various_heading, 0.6), (itemised, 0.2),
)  # fmt: skip
_DIRECTORY: Weighted = ((titled_list, 5), (running_text, 2), (various_heading, 0.5))
_TYPESCRIPT: Weighted = ((running_text, 5), (aligned_table, 1.6), (various_heading, 1), (itemised, 0.6))


FOREIGN = 0.12
"""Share of the pages of most kinds that are written in another script."""


def styled(compose_in: Callable[[Canvas, random.Random, Style], None], canvas: Canvas, rng: random.Random) -> None:
    """Compose a page in a drawn style, now and then in another script."""
    family = draw_foreign_family(rng) if rng.random() < FOREIGN else None
    compose_in(canvas, rng, draw_style(rng, canvas.height, canvas.width, family))


def article(canvas: Canvas, rng: random.Random) -> None:
    """Compose a journal's page whose displayed equations are annotated."""
    style = draw_style(rng, canvas.height, canvas.width)
    compose(canvas, rng, replace(style, labels_equations=True))


def report(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page of one or two columns with ruled tables, figures and all sorts of headings."""
    style = replace(style, columns=min(style.columns, rng.choice((1, 1, 2))))
    surround(canvas, rng, style)
    top = style.top
    if rng.random() < 0.4:
        part = rng.choice((table_with_caption, various_heading, figure_with_caption))
        top = part(canvas, rng, style, style.left, top, style.width, (style.bottom - top) * rng.uniform(0.3, 0.6))
    for area in columns(style, top, style.bottom):
        fill(canvas, rng, style, _REPORT, area)


def mathematics(canvas: Canvas, rng: random.Random) -> None:
    """Compose a page of paragraphs and displayed equations."""
    style = draw_style(rng, canvas.height, canvas.width, draw_family(rng, "serif"))
    style = replace(style, columns=min(style.columns, 2), labels_equations=True)
    surround(canvas, rng, style)
    for area in columns(style, style.top, style.bottom):
        fill(canvas, rng, style, _MATHEMATICS, area)


def long_table(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page that one table fills, with or without a heading and a caption."""
    surround(canvas, rng, style)
    y, x, width = style.top, style.left, style.width
    if rng.random() < 0.3:
        y = various_heading(canvas, rng, style, x, y, width, style.bottom - y)
    if rng.random() < 0.3:
        y = running_text(canvas, rng, style, x, y, width, 5 * style.body.leading) + style.body.leading
    share = rng.choice((1.0, 1.0, rng.uniform(0.5, 0.9)))
    y = table_with_caption(canvas, rng, style, x, y, width, (style.bottom - y) * share, rows=200)
    fill(canvas, rng, style, ((running_text, 3), (various_heading, 1)), (x, y, x + width, style.bottom))


def several_tables(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page of two to four tables that look alike, one below another or side by side."""
    surround(canvas, rng, style)
    aside = rng.random() < 0.3
    style = replace(style, columns=2 if aside else 1)
    look = draw_look(rng, style, style.width / style.columns)
    rows = rng.choice((None, rng.randint(3, 9), rng.randint(6, 14)))
    top = style.top
    if rng.random() < 0.5:
        top = various_heading(canvas, rng, style, style.left, top, style.width, style.bottom - top)
    for x0, y, x1, bottom in columns(style, top, style.bottom):
        for _ in range(rng.randint(1, 2) if aside else rng.randint(2, 4)):
            if rng.random() < 0.4:
                y = rng.choice((running_text, various_heading))(canvas, rng, style, x0, y, x1 - x0, bottom - y)
            y = table_with_caption(canvas, rng, style, x0, y, x1 - x0, bottom - y, look=look, rows=rows)
        if rng.random() < 0.6:
            fill(canvas, rng, style, ((running_text, 4), (various_heading, 1)), (x0, y, x1, bottom))


def turned_table(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page with a table and its caption turned by a right angle, alone or above text."""
    surround(canvas, rng, style)
    share = rng.choice((1.0, 1.0, rng.uniform(0.5, 0.75)))
    wide, high = (style.bottom - style.top) * share, style.width
    sheet = canvas.sheet(int(high), int(wide))
    y = caption(sheet, rng, style, 0, 0, wide - 2, 3 * style.caption.leading, "table") + 4 * style.point
    y = ruled_table(sheet, rng, style, 1, y, wide - 3, high - y - 2, rows=rng.choice((None, 12, 60)))
    if rng.random() < 0.3 and high - y > 3 * style.table.leading:
        with sheet.annotate("text"):
            set_lines(sheet, rng, style.table, 0, y + 3 * style.point, wide - 2, rng.randint(1, 2))
    canvas.place(sheet, style.left, style.top, rng.choice((1, 1, 3)))
    below = style.top + wide + style.body.leading
    for area in columns(replace(style, columns=min(style.columns, 2)), below, style.bottom):
        fill(canvas, rng, style, ((running_text, 4), (various_heading, 1)), area)


def directory(canvas: Canvas, rng: random.Random, style: Style) -> None:
    """Compose a page of lists of short lines: contributors, addresses, contents, references, charts."""
    style = replace(style, columns=rng.choice((1, 2, 2, 3)))
    surround(canvas, rng, style)
    top = style.top
    if rng.random() < 0.5:
        top = various_heading(canvas, rng, style, style.left, top, style.width, style.bottom - top)
    if rng.random() < 0.3:
        top = running_text(canvas, rng, style, style.left, top, style.width, 6 * style.body.leading)
        top += style.body.leading
    for area in columns(style, top, style.bottom):
        fill(canvas, rng, style, _DIRECTORY, area)


def typescript(canvas: Canvas, rng: random.Random) -> None:
    """Compose a typewritten page with tables that white space aligns, at times a letter with its signature."""
    family = draw_family(rng, "mono" if rng.random() < 0.75 else rng.choice(("serif", "sans")))
    style = draw_style(rng, canvas.height, canvas.width, family)
    right = max(style.right, canvas.width - 72 * style.point)
    body = replace(style.body, align=rng.choice(("left", "left", "left", "justify")), link=BLACK)
    faces, gap = (body.bold, body.regular), rng.choice((0.0, 0.5, 1.0)) * body.leading
    style = replace(style, columns=1, right=right, heading_faces=faces, body=body, paragraph_gap=gap)
    surround(canvas, rng, style)
    letter = rng.random() < 0.3
    y, bottom = style.top, style.bottom
    if letter:
        y = _letter_head(canvas, rng, style, y)
        bottom -= 7 * style.body.leading
    end = fill(canvas, rng, style, _TYPESCRIPT, (style.left, y, style.right, bottom))
    if letter:
        _letter_close(canvas, rng, style, end + style.body.leading)
    if rng.random() < 0.15:
        stamp(canvas, rng, style, rng.uniform(style.left, style.right), rng.uniform(style.top, style.bottom))


def _letter_head(canvas: Canvas, rng: random.Random, style: Style, y: float) -> float:
    """Write date, address and salutation, each an annotated text."""
    text, leading = style.body, style.body.leading
    blocks = [[f"{rng.randint(1, 28)} {phrase(rng, 1)} {rng.randint(1950, 2020)}"]]
    blocks.append([person(rng), *(phrase(rng, rng.randint(1, 3)) for _ in range(rng.randint(1, 4)))])
    blocks.append([f"Dear {person(rng)}" + rng.choice((",", ":"))])
    for i, lines in enumerate(blocks):
        x = style.left + style.width * 0.6 * (i == 0 and rng.random() < 0.5)
        with canvas.annotate("text"):
            for line in lines:
                canvas.text(line, x, y + leading * 0.75, text.regular)
                y += leading
        y += leading * rng.choice((0.6, 1.0))
    return y


def _letter_close(canvas: Canvas, rng: random.Random, style: Style, y: float) -> None:
    """Write the closing line and the name as texts, the signature between them as background."""
    text, leading = style.body, style.body.leading
    x = style.left + style.width * rng.choice((0.0, 0.0, 0.5))
    with canvas.annotate("text"):
        canvas.text(rng.choice(("Sincerely,", "Yours faithfully,", "Best regards,")), x, y + leading, text.regular)
    signature(canvas, rng, style, x, y + 2.6 * leading, style.width * rng.uniform(0.15, 0.3))
    with canvas.annotate("text"):
        for i in range(rng.randint(1, 2)):
            canvas.text(phrase(rng, 2) if i else person(rng), x, y + (4.6 + i) * leading, text.regular)
