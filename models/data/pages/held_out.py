"""Pages that training never renders, for validation and evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from models.data.pages.page import Page, render_page

HELD_OUT_SEEDS = 1_000_000_000
"""Training counts pages from 0 and never gets here."""


def held_out_pages(count: int, height: int, width: int) -> Iterator[Page]:
    """Render the first `count` of them, always the same, of this size in pixels."""
    return (render_page(HELD_OUT_SEEDS + index, height, width) for index in range(count))
