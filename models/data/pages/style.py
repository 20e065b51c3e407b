"""The look of one document: type, measures and habits, drawn once so that a page is coherent."""

import random
from dataclasses import dataclass

from models.data.pages.canvas import BLACK, Colour
from models.data.pages.fonts import Face, Family, draw_family, sized

# RGB of links, headings and rules: two blues, red, green, orange, violet, grey and cyan.
ACCENTS: tuple[Colour, ...] = (
    (20, 40, 140), (0, 90, 160), (150, 20, 30), (0, 110, 80),
    (200, 90, 0), (90, 40, 120), (60, 60, 60), (0, 130, 170),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How running text is set; leading in pixels."""

    regular: Face
    italic: Face
    bold: Face
    leading: float
    align: str
    link: Colour
    citations: float
    emphasis: float


@dataclass(frozen=True, slots=True)
class Style:
    """Measures are in pixels of the canvas; `point` is one typographic point of the page.

    With `labels_equations` a displayed equation is annotated as text, as PubLayNet has it.
    """

    point: float
    left: float
    right: float
    top: float
    bottom: float
    columns: int
    gutter: float
    body: TextStyle
    caption: TextStyle
    small: TextStyle
    table: TextStyle
    heading_faces: tuple[Face, Face]
    heading_colour: Colour
    heading_align: float
    heading_numbers: bool
    heading_caps: bool
    heading_rule: bool
    title_face: Face
    label_face: Face
    accent: Colour
    indent: float
    paragraph_gap: float
    caption_label: str
    caption_above_figure: bool
    caption_centred: bool
    table_rules: str
    mathematics: float
    labels_equations: bool = False

    @property
    def width(self) -> float:
        """Width of the type area."""
        return self.right - self.left


def _text_style(rng: random.Random, family: Family, size: float, spread: float, align: str, link: Colour) -> TextStyle:
    return TextStyle(
        sized(family.regular, size),
        sized(family.italic, size),
        sized(family.bold, size),
        leading=max(size * spread, 3.0),
        align=align,
        link=link,
        citations=rng.choice((0.0, 0.02, 0.04)),
        emphasis=rng.choice((0.0, 0.003, 0.012)),
    )


def _other_family(rng: random.Random, family: Family) -> Family:
    """Draw the family of headings: often that of the text."""
    if rng.random() < 0.45:
        return draw_family(rng, "serif" if rng.random() < 0.35 else "sans")
    return family


def draw_style(rng: random.Random, height: int, width: int, family: Family | None = None) -> Style:
    """Draw a document's style for a canvas of height x width pixels, in `family` or in drawn ones.

    Measures are in points: body type of 7 to 12, margins of 32 to 72 (half an inch to an inch), gutters of 12 to 28.
    """
    # Whatever its size in pixels, the canvas is about a letter page, 612 x 792 points.
    point = (height * width / (612 * 792)) ** 0.5 * rng.uniform(0.94, 1.1)
    columns = rng.choices((1, 2, 3), (25, 65, 10))[0]
    if width > 1.1 * height:  # landscape
        columns = rng.choice((1, 2, 2, 3))
    if family is None:
        family = draw_family(rng, "serif" if rng.random() < 0.72 else "sans")
        other = _other_family(rng, family)
    else:
        other = family
    # The narrower the column, the smaller its type.
    size = point * {1: rng.uniform(9.5, 12), 2: rng.uniform(8.2, 10.6), 3: rng.uniform(7.2, 9)}[columns]
    accent = rng.choice(ACCENTS)
    link = accent if rng.random() < 0.35 else BLACK
    align = "justify" if rng.random() < 0.85 else "left"
    # Leading in shares of the size; single columns may be double-spaced, as manuscripts are.
    spread = rng.uniform(1.12, 1.32) if columns > 1 or rng.random() < 0.7 else rng.uniform(1.3, 2.0)
    small = size * rng.uniform(0.76, 0.95)
    note = other if rng.random() < 0.5 else family
    heading = size * rng.uniform(1.0, 1.4)
    bold = rng.random() < 0.8
    # Paragraphs are set apart by an indent, by a gap in lines, or by both.
    gap = 0.0 if rng.random() < 0.68 else rng.uniform(0.3, 1.0)
    side, far = rng.uniform(32, 72) * point, rng.uniform(32, 72) * point
    if rng.random() < 0.6:
        far = side
    if columns == 1 and rng.random() < 0.15:  # a wide margin, as some journals keep for notes
        side += rng.uniform(60, 120) * point
    return Style(
        point=point,
        left=side,
        right=width - far,
        top=rng.uniform(45, 85) * point,
        bottom=height - rng.uniform(42, 90) * point,
        columns=columns,
        gutter=rng.uniform(12, 28) * point,
        body=_text_style(rng, family, size, spread, align, link),
        caption=_text_style(rng, note, small, rng.uniform(1.1, 1.3), align, link),
        small=_text_style(rng, family, small, rng.uniform(1.1, 1.3), align, link),
        table=_text_style(rng, note, size * rng.uniform(0.72, 0.95), rng.uniform(1.15, 1.5), "left", link),
        heading_faces=(
            sized(other.bold if bold else other.regular, heading),
            sized(rng.choice((other.bold, other.italic)), max(size, heading * rng.uniform(0.8, 0.95))),
        ),
        heading_colour=accent if rng.random() < 0.25 else BLACK,
        heading_align=0.5 if rng.random() < 0.12 else 0.0,
        heading_numbers=rng.random() < 0.45,
        heading_caps=rng.random() < 0.22,
        heading_rule=rng.random() < 0.06,
        title_face=sized(rng.choice((other.bold, other.bold, other.regular)), size * rng.uniform(1.5, 2.5)),
        label_face=sized(draw_family(rng, "sans").regular, size * rng.uniform(0.6, 0.85)),
        accent=accent,
        indent=rng.uniform(0.8, 2.2) * size if gap == 0.0 or rng.random() < 0.2 else 0.0,
        paragraph_gap=gap * size * spread,
        caption_label=rng.choice(("Fig. {}.", "Figure {}.", "FIGURE {}:", "Figure {}:", "Fig. {}", "FIG. {}.")),
        caption_above_figure=rng.random() < 0.05,
        caption_centred=rng.random() < 0.3,
        table_rules=rng.choices(("booktabs", "grid", "none", "rows", "shaded", "header"), (50, 12, 6, 10, 12, 10))[0],
        mathematics=rng.choice((0.0, 0.0, 0.05, 0.25)),
    )
