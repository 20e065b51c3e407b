"""The kinds of pages, how often each comes, and how often it comes as a black and white copy."""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from models.data.pages.canvas import Canvas
from models.data.pages.dashboards import dashboard
from models.data.pages.documents import (
    article,
    directory,
    long_table,
    mathematics,
    report,
    several_tables,
    styled,
    turned_table,
    typescript,
)
from models.data.pages.forms import form
from models.data.pages.magazines import magazine
from models.data.pages.slides import slides


class Kind(NamedTuple):
    """`compose` fills a canvas with a page; `copies` is a share of its pages.

    Of a hundred pages `upright` are of the kind where the page is higher than wide, `wide` where it is not.
    """

    name: str
    compose: Callable[[Canvas, random.Random], None]
    upright: float
    wide: float
    copies: float


KINDS: tuple[Kind, ...] = (
    Kind("article", article, 60, 55, 0.03),
    Kind("report", partial(styled, report), 9, 6, 0.1),
    Kind("mathematics", mathematics, 3.5, 2, 0.05),
    Kind("long table", partial(styled, long_table), 4.5, 6, 0.2),
    Kind("several tables", partial(styled, several_tables), 5, 4, 0.15),
    Kind("turned table", partial(styled, turned_table), 3, 1, 0.15),
    Kind("typescript", typescript, 6, 2, 0.45),
    Kind("directory", partial(styled, directory), 2.5, 2, 0.15),
    Kind("form", partial(styled, form), 2, 1, 0.35),
    Kind("magazine", partial(styled, magazine), 2, 2, 0.03),
    Kind("slides", partial(styled, slides), 1.5, 13, 0.05),
    Kind("dashboard", partial(styled, dashboard), 1, 6, 0.0),
)


def kind_of(seed: int, height: int, width: int) -> Kind:
    """Return the kind of a seed's page, the same at every size that is higher than wide, or at every other."""
    weights = [kind.wide if width > height else kind.upright for kind in KINDS]
    return random.Random(f"kind {seed}").choices(KINDS, weights)[0]
