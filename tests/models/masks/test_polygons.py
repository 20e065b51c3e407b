"""Polygons: filled again, they are the mask, also by COCO's own library."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.masks.forms import segmentations
from models.masks.masks import Cut
from models.masks.polygons import polygons
from models.masks.runs import encoded_runs


def of(bitmap) -> Cut:
    return Cut(np.asarray(bitmap, bool), 0, 0, *np.shape(bitmap))


def filled(polygon: list[float], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose centres a polygon holds, by the even-odd rule."""
    ends = np.array(polygon).reshape(-1, 2)
    inside = np.zeros((height, width), bool)
    y, x = np.mgrid[:height, :width] + 0.5
    for (x0, y0), (x1, y1) in zip(ends, np.roll(ends, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


@pytest.mark.parametrize("seed", range(80))
def test_polygons_hold_the_centres_of_the_masks_pixels_and_no_others(seed, some_masks):
    masks = some_masks(seed)
    height, width = masks.height, masks.width
    parts = [filled(polygon, height, width) for polygon in polygons(masks.cut(0))]
    assert np.array_equal(sum(part.astype(int) for part in parts) if parts else np.zeros((height, width)), masks[0])


@pytest.mark.parametrize("seed", range(40))
def test_cocos_own_library_fills_polygons_as_the_mask_up_to_its_boundary(seed, some_masks):
    coco = pytest.importorskip("faster_coco_eval.core.mask")
    masks = some_masks(seed)
    found = polygons(masks.cut(0))
    if not found:
        assert not masks[0].any()
        return
    mask = coco.decode(coco.merge(coco.frPyObjects(found, masks.height, masks.width))).astype(bool)
    wrong = mask != masks[0]
    padded = np.pad(masks[0], 1, "edge")
    neighbours = [padded[y : y + wrong.shape[0], x : x + wrong.shape[1]] for y in range(3) for x in range(3)]
    boundary = np.any(neighbours, 0) & ~np.all(neighbours, 0)
    assert not (wrong & ~boundary).any()


def test_a_rectangle_is_its_box_with_corners_cut():
    mask = np.zeros((6, 8))
    mask[1:4, 2:7] = 1
    (polygon,) = polygons(of(mask))
    points = np.array(polygon).reshape(-1, 2)
    assert len(points) == 8
    assert points.min(0).tolist() == [2, 1]
    assert points.max(0).tolist() == [7, 4]


def test_a_mask_of_the_whole_image_reaches_its_edges():
    (polygon,) = polygons(of(np.ones((4, 5))))
    points = np.array(polygon).reshape(-1, 2)
    assert points.min(0).tolist() == [0, 0]
    assert points.max(0).tolist() == [5, 4]


def test_an_empty_mask_has_no_polygons():
    assert polygons(of(np.zeros((4, 5)))) == []
    assert polygons(Cut(np.zeros((0, 0), bool), 0, 0, 4, 5)) == []


def test_holes_are_left_out_and_what_lies_in_them_is_a_polygon_of_its_own():
    mask = np.zeros((15, 15))
    mask[1:14, 1:14] = 1
    mask[3:12, 3:12] = 0
    mask[6:9, 6:9] = 1
    mask[2, 8] = 0
    found = polygons(of(mask))
    assert len(found) == 2
    assert np.array_equal(sum(filled(polygon, 15, 15).astype(int) for polygon in found), mask)


@pytest.mark.parametrize("seed", range(20))
def test_parts_and_holes_within_each_other_are_told_apart(seed):
    """Noise has parts in holes of parts, and pixels that touch at corners only."""
    generator = np.random.default_rng(seed)
    mask = generator.random((21, 24)) < 0.3 + 0.4 * (seed % 3) / 2
    parts = [filled(polygon, 21, 24) for polygon in polygons(of(mask))]
    assert np.array_equal(np.sum(parts, 0, int), mask)
    ndimage = pytest.importorskip("scipy.ndimage")
    assert len(parts) == ndimage.label(mask)[1]


def test_masks_are_given_in_either_form(some_masks):
    masks = some_masks(0)
    assert segmentations(masks, "rle") == [encoded_runs(masks.cut(0))]
    assert segmentations(masks, "polygons") == [polygons(masks.cut(0))]
    assert segmentations(masks.at(np.array([], np.int64)), "rle") == []
