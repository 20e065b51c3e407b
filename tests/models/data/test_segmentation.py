from itertools import pairwise

import numpy as np
import pytest
from faster_coco_eval.core.mask import encode

from models.data.segmentation import box_around, decoded_counts, mask_size


def runs(mask):
    """Lengths of runs of background and mask by turns, down the columns."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat, [1 - flat[-1]])))).tolist()
    return [end - start for start, end in pairwise([0, *edges])]


def test_the_box_around_polygons():
    assert box_around([[2, 3, 12, 3, 12, 8], [1, 4, 5, 20, 3, 3]]) == (1, 3, 11, 17)
    assert box_around([2, 3, 12, 3, "12", 8]) == (2, 3, 10, 5)
    assert box_around([[2, 3], [12, 3], [12, 8]]) == (2, 3, 10, 5)


@pytest.mark.parametrize("nothing", [None, [], {}, "", [[]]])
def test_no_segmentation_has_no_box(nothing):
    assert box_around(nothing) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_box_around_runs_of_cocos_own_library_is_the_masks(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 300, 2)
    mask = np.zeros((height, width), np.uint8, order="F")
    top, left = random.integers(0, height), random.integers(0, width)
    mask[top : top + random.integers(1, 200), left : left + random.integers(1, 200)] = 1
    mask &= random.random((height, width)) < 0.8
    rows, columns = np.nonzero(mask)
    expected = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) if len(rows) else None
    counts, size = runs(mask.astype(np.int8)), [int(height), int(width)]
    text = encode(mask)["counts"].decode()
    assert decoded_counts(text) == counts
    for form in (counts, text):
        assert box_around({"size": size, "counts": form}) == expected
    assert mask_size({"size": size, "counts": counts}) == tuple(size)
    assert mask_size([[1, 1, 2, 2, 3, 3]]) is None


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 2, 3]], "three corners"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, "x", 4, 5, 6]], "no number"),
        ([[1, 2, float("nan"), 4, 5, 6]], "not finite"),
        ({"counts": [1, 2]}, "no size"),
        ({"size": [0, 2], "counts": []}, "no size"),
        ({"size": [2, 2]}, "no counts"),
        ({"size": [2, 2], "counts": [1, 2]}, "do not fill"),
        ({"size": [2, 2], "counts": [-1, 5]}, "do not fill"),
        ({"size": [2, 2], "counts": "\x01"}, "no compressed runs"),
        ({"size": [2, 2], "counts": "P"}, "middle of a number"),
        ("polygon", "neither polygons nor RLE"),
    ],
)
def test_other_segmentations_are_refused(segmentation, reason):
    with pytest.raises(ValueError, match=reason):
        box_around(segmentation)
