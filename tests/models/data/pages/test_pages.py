"""Drawn pages: the same again from the same seed, boxes that fit the ink, every class, any fonts."""

from collections.abc import Iterator

import numpy as np
import pytest

from models.data.pages import Page, degradation, fonts, page, render_page
from models.named_models import PAGE_LABELS

SIZES = ((352, 272), (288, 224), (480, 352), (240, 400))


@pytest.fixture(name="clean")
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "degrade", lambda image, boxes, labels, rng: (image, boxes, labels))


@pytest.fixture(name="no_fonts")
def _no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fonts, "FONT_FOLDERS", ("/nowhere",))
    _forget_fonts()
    yield
    _forget_fonts()


def _forget_fonts() -> None:
    fonts.installed_files.cache_clear()
    fonts.families.cache_clear()


def _ink(drawn: Page) -> np.ndarray:
    return np.asarray(drawn.image.convert("L")) < 200


def test_labels_are_in_the_order_of_publaynet() -> None:
    assert PAGE_LABELS == ("text", "title", "list", "table", "figure")


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_same_arguments_give_the_same_page(height: int, width: int) -> None:
    for seed in (3, 4):
        first = render_page(seed, height, width)
        fonts.face.cache_clear()
        again = render_page(seed, height, width)
        assert first.image.tobytes() == again.image.tobytes()
        np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)
        np.testing.assert_array_equal(first.labels, again.labels)


def test_other_seeds_give_other_pages() -> None:
    assert render_page(1, 288, 224).image.tobytes() != render_page(2, 288, 224).image.tobytes()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_lie_within_the_page_and_are_not_degenerate(height: int, width: int) -> None:
    for seed in range(12):
        drawn = render_page(seed, height, width)
        boxes, labels = drawn.boxes_xyxy, drawn.labels
        assert drawn.image.size == (width, height)
        assert drawn.image.mode == "RGB"
        assert boxes.dtype == np.float32
        assert labels.dtype == np.int64
        assert boxes.shape == (len(labels), 4)
        assert 1 <= len(labels) <= 60
        assert (boxes >= 0).all()
        assert (boxes[:, [0, 2]] <= width).all()
        assert (boxes[:, [1, 3]] <= height).all()
        assert ((boxes[:, 2:] - boxes[:, :2]) >= 2).all()
        assert ((labels >= 0) & (labels < len(PAGE_LABELS))).all()


def test_every_class_is_frequent() -> None:
    present = np.zeros(len(PAGE_LABELS))
    for seed in range(60):
        present[np.unique(render_page(seed, 288, 224).labels)] += 1
    assert (present / 60 > 0.2).all(), dict(zip(PAGE_LABELS, present / 60, strict=True))


@pytest.mark.usefixtures("clean")
def test_boxes_of_words_touch_their_ink_on_all_sides() -> None:
    gaps = []
    for seed in range(15):
        drawn = render_page(seed, 640, 496)
        ink = np.asarray(drawn.image.convert("L")) < 235
        for box, label in zip(drawn.boxes_xyxy.round().astype(int), drawn.labels, strict=True):
            if PAGE_LABELS[label] in ("text", "title", "list"):
                part = ink[box[1] : box[3], box[0] : box[2]]
                rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
                assert rows.size
                height, width = part.shape
                gaps.append((rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1]))
    assert np.percentile(gaps, 95) <= 2


@pytest.mark.usefixtures("clean")
def test_little_ink_lies_outside_the_boxes() -> None:
    outside = total = 0
    for seed in range(25):
        drawn = render_page(seed, 352, 272)
        ink = _ink(drawn)
        total += int(ink.sum())
        for x0, y0, x1, y1 in drawn.boxes_xyxy.round().astype(int):
            ink[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = False
        outside += int(ink.sum())
    assert outside < 0.12 * total


@pytest.mark.usefixtures("clean")
def test_boxes_hardly_overlap() -> None:
    for seed in range(25):
        boxes = render_page(seed, 480, 352).boxes_xyxy
        lower = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        upper = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        shared = np.clip(upper - lower, 0, None).prod(axis=2)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        np.fill_diagonal(shared, 0)
        assert (shared <= 0.35 * np.minimum(area[:, None], area[None, :])).all(), seed


def test_a_skew_turns_the_boxes_with_the_ink() -> None:
    image = page.Image.new("RGB", (200, 300), "white")
    image.paste((0, 0, 0), (30, 40, 120, 60))
    boxes = np.array([[30, 40, 120, 60]], np.float32)
    for seed in range(5):
        turned, hull = degradation.skew(image, boxes, page.random.Random(seed))
        rows, columns = np.nonzero(np.asarray(turned.convert("L"))[3:-3, 6:-6] < 20)
        found = [columns.min() + 6, rows.min() + 3, columns.max() + 7, rows.max() + 4]
        corners = np.asarray(turned.convert("L"))[[0, 0], [0, -1]]
        if corners.min() > 50:
            np.testing.assert_allclose(hull[0], found, atol=2)


@pytest.mark.usefixtures("no_fonts")
def test_pages_are_drawn_without_installed_fonts() -> None:
    assert fonts.families("serif")[0][0].regular.path is None
    for seed in range(3):
        assert len(render_page(seed, 288, 224).labels) >= 1
