from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.images.drawing import class_color, draw_detections


def drawn(size: tuple[int, int], *detections: Any) -> Any:
    png = draw_detections(np.full((size[1], size[0], 3), 255, np.uint8), detections, ("a", "b"))
    return np.asarray(Image.open(BytesIO(png)))


def test_a_box_has_the_colour_of_its_class_on_its_edges() -> None:
    pixels = drawn((200, 100), ("b", 0.9, (50.0, 40.0, 150.0, 90.0)))
    assert pixels.shape == (100, 200, 3)
    assert tuple(pixels[90, 100]) == tuple(pixels[70, 50]) == tuple(pixels[70, 150]) == class_color("b", ("a", "b"))
    assert (pixels[70, 100] == 255).all()


def test_a_tag_stands_above_its_box_or_inside_where_there_is_no_room() -> None:
    above = drawn((200, 100), ("a", 0.5, (20.0, 50.0, 60.0, 90.0)))
    assert (above[40:48, 20:60] != 255).any()
    inside = drawn((200, 100), ("a", 0.5, (20.0, 0.0, 190.0, 90.0)))
    assert (inside[2:10, 22:60] != 255).any()


def test_a_tag_avoids_the_tag_of_a_better_detection() -> None:
    one, two = ("a", 0.9, (20.0, 60.0, 180.0, 150.0)), ("b", 0.8, (22.0, 62.0, 182.0, 152.0))
    alone, both = drawn((240, 200), one), drawn((240, 200), one, two)
    tag = (slice(46, 58), slice(22, 50))
    assert (alone[tag] == class_color("a", ("a", "b"))).all(-1).any()
    np.testing.assert_array_equal(both[tag], alone[tag])
    assert (both[46:58, 130:180] == class_color("b", ("a", "b"))).all(-1).any()


def test_without_room_the_better_detection_is_on_top() -> None:
    one, two = ("a", 0.9, (0.0, 0.0, 20.0, 12.0)), ("b", 0.8, (0.0, 0.0, 20.0, 12.0))
    pixels = drawn((21, 14), one, two)
    assert (pixels == class_color("a", ("a", "b"))).all(-1).sum() > 100
    assert not (pixels == class_color("b", ("a", "b"))).all(-1).any()


def test_without_detections_the_image_stays_as_it_is() -> None:
    assert (drawn((5, 4)) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_tiny_images_and_flat_boxes_can_be_drawn_on(size: tuple[int, int]) -> None:
    assert drawn(size, ("a", 1.0, (0.0, 0.0, float(size[0]), 0.0))).shape == (size[1], size[0], 3)


def test_neighbouring_classes_differ_and_names_keep_their_colour() -> None:
    assert class_color("a", ("a", "b")) != class_color("b", ("a", "b"))
    assert class_color("unknown") == class_color("unknown")


def test_masks_are_laid_over_the_image_and_the_better_detection_on_top() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    boxes = [("a", 0.9, (0.0, 0.0, 1.0, 1.0)), ("b", 0.8, (0.0, 0.0, 1.0, 1.0))]
    left, right = np.zeros((2, 40, 60), bool)
    left[:, :40], right[:, 20:] = True, True
    png = draw_detections(image, boxes, ("a", "b"), [left, right])
    pixels = np.asarray(Image.open(BytesIO(png)))
    for column, label in ((10, "a"), (30, "a"), (50, "b")):
        assert tuple(pixels[35, column]) == tuple((100 + value) // 2 for value in class_color(label, ("a", "b")))
    assert (image == 100).all()
