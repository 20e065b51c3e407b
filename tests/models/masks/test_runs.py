"""Runs, against COCO's own library."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.segmentation import decoded_counts
from models.masks.masks import Cut
from models.masks.runs import compressed, encoded_runs, run_lengths

coco = pytest.importorskip("faster_coco_eval.core.mask")


def of(bitmap) -> Cut:
    return Cut(np.asarray(bitmap, bool), 0, 0, *np.shape(bitmap))


@pytest.mark.parametrize("seed", range(40))
def test_runs_are_those_of_cocos_own_library(seed, some_masks):
    masks = some_masks(seed)
    runs = encoded_runs(masks.cut(0))
    own = coco.encode(np.asfortranarray(masks[0].astype(np.uint8)))
    assert runs == {"size": [masks.height, masks.width], "counts": own["counts"].decode()}
    assert np.array_equal(coco.decode({**runs, "counts": runs["counts"].encode()}), masks[0])


@pytest.mark.parametrize(
    ("bitmap", "lengths"),
    [
        (np.zeros((3, 4)), [12]),
        (np.ones((3, 4)), [0, 12]),
        ([[0, 1], [0, 1]], [2, 2]),
        ([[1, 0], [1, 0]], [0, 2, 2]),
        ([[0, 1], [1, 0]], [1, 2, 1]),
        ([[1]], [0, 1]),
    ],
)
def test_runs_go_down_the_columns_and_on_into_the_next(bitmap, lengths):
    assert run_lengths(of(bitmap)).tolist() == lengths


def test_an_empty_cut_is_one_run():
    empty = Cut(np.zeros((0, 0), bool), 0, 0, 5, 7)
    assert run_lengths(empty).tolist() == [35]
    assert not coco.decode({"size": [5, 7], "counts": encoded_runs(empty)["counts"].encode()}).any()


def test_long_runs_and_their_differences_are_compressed():
    lengths = np.array([0, 40_000_000, 3, 31, 32, 1, 1023, 2_000_000_000, 15, 16, 17])
    assert decoded_counts(compressed(lengths)) == lengths.tolist()
