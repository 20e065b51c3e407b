import numpy as np
import pytest

from models.evaluation.pictures import CELL, COLOURS, class_colours, drawn, side_by_side, tiled

WHITE = np.full((90, 60, 3), 255, np.uint8)


def test_class_keeps_its_colour_and_an_unknown_one_is_black():
    assert class_colours(["b", "x", "a", "b"], ["a", "b"]) == [COLOURS[1], "black", COLOURS[0], COLOURS[1]]


def test_box_is_drawn_in_its_colour_and_the_image_stays_as_it_is():
    image = WHITE.copy()
    picture = drawn(image, np.array([[10.0, 20.0, 40.0, 70.0]]), [""], ["#ff0000"])
    assert (image == 255).all()
    assert tuple(picture[20, 25]) == (255, 0, 0)
    assert tuple(picture[45, 25]) == (255, 255, 255)


def test_image_without_boxes_is_copied():
    assert (drawn(WHITE, np.zeros((0, 4)), [], []) == WHITE).all()


def test_pair_fits_a_cell():
    large = np.zeros((2000, 1500, 3), np.uint8)
    assert side_by_side(large, large).size == (CELL * 3000 // 2000, CELL)
    assert side_by_side(WHITE, WHITE).size == (120, 90)


@pytest.mark.parametrize(("count", "size"), [(1, (128, 98)), (2, (256, 98)), (3, (256, 196))])
def test_sheet_has_two_columns(count, size):
    assert tiled([side_by_side(WHITE, WHITE)] * count).size == size
