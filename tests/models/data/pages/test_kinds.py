"""Every kind of page: boxes hold the ink and touch it, labels are those expected, pages come out the same."""

import random

import numpy as np
import pytest
from PIL import Image

from models.data.pages import kinds, page
from models.data.pages.degradation import Boxes, Labels, degrade
from models.data.pages.kinds import KINDS, Kind, kind_of
from models.data.pages.page import Page, draw_page
from models.data.pages.photocopy import photocopy
from models.named_models import PAGE_LABELS

EXPECTED = {
    "mathematics": {"text"},
    "long table": {"table"},
    "several tables": {"table"},
    "turned table": {"table", "text"},
    "typescript": {"text", "table"},
    "directory": {"list", "title"},
    "form": {"title", "table", "list", "text"},
    "magazine": {"text", "title", "figure"},
    "slides": {"title", "list", "figure"},
    "dashboard": {"title", "text", "figure", "table"},
}
"""Classes that pages of a kind are for."""


def _clean(kind: Kind, seed: int, height: int = 480, width: int = 368) -> Page:
    """Draw a page with boxes tight around the ink and without traces of print or scan."""
    return draw_page(random.Random(seed), height, width, kind.compose, _unfinished, line_boxes=False)


def _unfinished(
    image: Image.Image, boxes: Boxes, labels: Labels, _rng: random.Random
) -> tuple[Image.Image, Boxes, Labels]:
    return image, boxes, labels


@pytest.fixture(name="drawn", params=KINDS[1:], ids=lambda kind: kind.name)
def _drawn(request: pytest.FixtureRequest) -> tuple[str, list[Page]]:
    return request.param.name, [_clean(request.param, seed) for seed in range(5)]


def test_boxes_are_sound_and_few_enough_for_a_detector(drawn: tuple[str, list[Page]]) -> None:
    for one in drawn[1]:
        boxes = one.boxes_xyxy
        assert 1 <= len(boxes) <= 70
        assert (boxes >= 0).all()
        assert (boxes <= np.array([368, 480, 368, 480])).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_boxes_touch_their_ink_on_all_sides(drawn: tuple[str, list[Page]]) -> None:
    gaps = []
    for one in drawn[1]:
        paper = np.asarray(one.image.convert("L"))
        for box in one.boxes_xyxy.round().astype(int):
            part = paper[box[1] : box[3], box[0] : box[2]]
            ink = abs(part.astype(int) - np.median(part)) > 12
            rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
            if rows.size:
                height, width = part.shape
                gaps.append(max(rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1]))
    assert np.percentile(gaps, 85) <= 3


def test_no_two_boxes_overlap(drawn: tuple[str, list[Page]]) -> None:
    for one in drawn[1]:
        boxes = one.boxes_xyxy
        lower = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        upper = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        shared = np.clip(upper - lower, 0, None).prod(axis=2)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        np.fill_diagonal(shared, 0)
        assert (shared <= 0.3 * np.minimum(area[:, None], area[None, :])).all()


def test_pages_hold_what_their_kind_is_for(drawn: tuple[str, list[Page]]) -> None:
    name, pages = drawn
    found = {PAGE_LABELS[label] for one in pages for label in one.labels}
    assert EXPECTED.get(name, set()) <= found


def test_three_pages_of_five_are_a_journals() -> None:
    for height, width in ((300, 200), (200, 300)):
        names = [kind_of(seed, height, width).name for seed in range(2000)]
        assert 0.5 < names.count("article") / 2000 < 0.65
        assert set(names) == {kind.name for kind in KINDS}


@pytest.mark.parametrize("copied", [False, True])
def test_same_arguments_give_the_same_page(monkeypatch: pytest.MonkeyPatch, copied: bool) -> None:
    for kind in KINDS:
        monkeypatch.setattr(page, "kind_of", lambda *_, kind=kind: kind._replace(copies=float(copied)))
        first, again = (page.render_page(7, 240, 184) for _ in range(2))
        assert first.image.tobytes() == again.image.tobytes()
        np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)


def test_an_articles_equations_are_text_and_all_else_as_in_journals() -> None:
    more = 0
    for seed in range(16):
        kind = kinds.KINDS[0]
        article = draw_page(random.Random(seed), 240, 184, kind.compose, _unfinished)
        journal = draw_page(random.Random(seed), 240, 184, page.journal_page, _unfinished)
        texts = [int((one.labels == 0).sum()) for one in (article, journal)]
        assert texts[0] >= texts[1]
        more += texts[0] > texts[1]
    assert more


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 400), (400, 64)])
def test_every_kind_is_drawn_at_every_size(height: int, width: int) -> None:
    for kind in KINDS:
        for finish in (degrade, photocopy):
            drawn = draw_page(random.Random(3), height, width, kind.compose, finish)
            assert drawn.image.size == (width, height)
            assert len(drawn.labels) >= 1
