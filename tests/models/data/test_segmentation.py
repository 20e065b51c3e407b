from itertools import pairwise

import numpy as np
import pytest

from models.data.segmentation import box_around, decoded_counts, mask_size


def encoded(counts):
    """COCO's compression, written from its description, to test the other way."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            text += chr(48 + code + (0x20 if more else 0))
    return text


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
def test_the_box_around_runs_is_the_masks(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 40, 2)
    mask = np.zeros((height, width), np.int8)
    top, left = random.integers(0, height), random.integers(0, width)
    mask[top : top + random.integers(1, 20), left : left + random.integers(1, 20)] = 1
    mask &= random.random((height, width)) < 0.8
    rows, columns = np.nonzero(mask)
    expected = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) if len(rows) else None
    counts, size = runs(mask), [int(height), int(width)]
    assert decoded_counts(encoded(counts)) == counts
    for form in (counts, encoded(counts)):
        assert box_around({"size": size, "counts": form}) == expected
    assert mask_size({"size": size, "counts": counts}) == tuple(size)
    assert mask_size([[1, 1, 2, 2, 3, 3]]) is None


def test_cocos_own_library_writes_what_is_read():
    mask_of = pytest.importorskip("faster_coco_eval.core.mask")
    mask = np.zeros((300, 200), np.uint8, order="F")
    mask[40:190, 30:170] = 1
    mask[::7] = 0
    coded = mask_of.encode(mask)
    text = coded["counts"].decode()
    assert decoded_counts(text) == runs(mask.astype(np.int8))
    assert box_around({"size": [300, 200], "counts": text}) == tuple(mask_of.toBbox(coded))


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
def test_what_is_no_segmentation(segmentation, reason):
    with pytest.raises(ValueError, match=reason):
        box_around(segmentation)
