from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import models.matching
from models.detections import Detections
from models.matching import match

Make = Callable[..., Detections]


def rows(matching: models.matching.Matching) -> list[tuple[int, int]]:
    return [(pair.left, pair.right) for pair in matching.pairs]


def test_pairs_have_iou_and_score_difference_and_the_rest_is_listed(detected: Make) -> None:
    left = detected(((0, 0, 10, 10), 0.9, "cat"), ((20, 20, 30, 30), 0.8, "dog"), ((50, 50, 60, 60), 0.7, "cat"))
    right = detected(((50, 50, 60, 58), 0.95, "cat"), ((90, 90, 99, 99), 0.6, "dog"), ((0, 0, 10, 10), 0.5, "cat"))
    matching = match(left, right)
    assert rows(matching) == [(0, 2), (2, 0)]
    assert [pair.iou for pair in matching.pairs] == pytest.approx([1, 0.8])
    assert [pair.score_difference for pair in matching.pairs] == pytest.approx([-0.4, 0.25])
    assert (matching.only_left, matching.only_right) == ((1,), (1,))


def test_only_detections_of_one_label_are_paired(detected: Make) -> None:
    cat, dog = detected(((0, 0, 10, 10), 0.9, "cat")), detected(((0, 0, 10, 10), 0.9, "dog"))
    assert match(cat, dog) == models.matching.Matching((), (0,), (0,))


def test_the_min_iou_is_inclusive(detected: Make) -> None:
    whole, half = detected(((0, 0, 10, 10), 0.9, "cat")), detected(((0, 0, 5, 10), 0.9, "cat"))
    assert rows(match(whole, half)) == [(0, 0)]
    assert rows(match(whole, half, min_iou=0.51)) == []


def test_the_pair_that_overlaps_most_comes_first_and_no_detection_is_in_two(detected: Make) -> None:
    left = detected(((0, 0, 10, 10), 0.9, "cat"), ((0, 0, 8, 10), 0.8, "cat"))
    right = detected(((0, 0, 8, 10), 0.7, "cat"))
    assert rows(match(left, right)) == [(1, 0)]
    assert match(left, right).only_left == (0,)


def test_of_equal_overlaps_the_better_detections_are_paired(detected: Make) -> None:
    twins = detected(((0, 0, 10, 10), 0.9, "cat"), ((0, 0, 10, 10), 0.4, "cat"))
    assert rows(match(twins, twins)) == [(0, 0), (1, 1)]


def test_nothing_matches_nothing(detected: Make) -> None:
    nothing, one = detected(), detected(((0, 0, 10, 10), 0.9, "cat"))
    assert match(nothing, nothing) == models.matching.Matching((), (), ())
    assert match(one, nothing).only_left == (0,)
    assert match(nothing, one).only_right == (0,)


def some(seed: int, n: int = 60) -> Detections:
    generator = np.random.default_rng(seed)
    low = generator.random((n, 2), np.float32) * 50
    boxes = np.concatenate((low, low + 10 + generator.random((n, 2), np.float32) * 30), 1)
    scores = np.sort(generator.random(n).astype(np.float32))[::-1].copy()
    return Detections(boxes, scores, tuple("abc"[i] for i in generator.integers(0, 3, n)))


def test_exchanging_the_sides_exchanges_the_rows() -> None:
    left, right = some(0), some(1)
    forth, back = match(left, right), match(right, left)
    assert sorted((j, i) for i, j in rows(back)) == rows(forth)
    assert len(rows(forth)) > 10
    assert (back.only_right, back.only_left) == (forth.only_left, forth.only_right)


def test_long_lists_are_matched_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = match(some(2), some(3))
    monkeypatch.setattr(models.matching, "_MAX_PAIRS_AT_ONCE", 50)
    assert match(some(2), some(3)) == whole
