"""The kinds of pages, how often each comes, and how often it comes as a black and white copy."""

import random
from collections.abc import Callable
from typing import NamedTuple

from models.data.pages.canvas import Canvas
from models.data.pages.documents import (
    article,
    long_table,
    mathematics,
    report,
    several_tables,
    turned_table,
    typescript,
)


class Kind(NamedTuple):
    """`compose` fills a canvas with a page; `weight` pages of all in hundred; `copies` is a share of its pages."""

    name: str
    compose: Callable[[Canvas, random.Random], None]
    weight: float
    copies: float


KINDS: tuple[Kind, ...] = (
    Kind("article", article, 60, 0.04),
    Kind("report", report, 11, 0.1),
    Kind("mathematics", mathematics, 4, 0.05),
    Kind("long table", long_table, 5, 0.2),
    Kind("several tables", several_tables, 6, 0.15),
    Kind("turned table", turned_table, 4, 0.15),
    Kind("typescript", typescript, 10, 0.45),
)


def kind_of(seed: int) -> Kind:
    """Return the kind of a seed's page, the same at every size."""
    return random.Random(f"kind {seed}").choices(KINDS, [kind.weight for kind in KINDS])[0]
