from dataclasses import replace

import numpy as np
import pytest

from models.detector import Detector
from models.measurement.token_counts import spread_counts, token_range
from models.named_models import named_config, pages_small
from models.preprocess import prepare
from models.resizing import Resizing


@pytest.mark.parametrize(
    ("name", "largest"), [("pages-small", 26 * 48), ("detr-r50", 25 * 42), ("detr-r50-dc5", 50 * 84)]
)
def test_the_largest_count_is_that_of_the_models_longest_shape_and_largest_side(name, largest):
    assert token_range(named_config(name))[1] == largest


def test_the_range_covers_all_sizes_of_the_model():
    own = replace(pages_small(), trained_sides=None, longest_side=352)
    least, largest = token_range(replace(own, trained_sides=(100, 700)))
    assert (least, largest) == (token_range(own.resized_to(100))[0], token_range(own.resized_to(700))[1])
    assert least < token_range(own)[0] < token_range(own)[1] < largest


@pytest.mark.parametrize(
    "resizing",
    [
        None,
        Resizing(),
        Resizing("inside", (48, 80)),
        Resizing("exact", (50, 90)),
        Resizing("none", canvas=(200, 300)),
    ],
)
def test_counts_of_images_are_in_the_range(tiny_detr, resizing):
    detector = Detector(tiny_detr)
    detector.config = replace(detector.config, resizing=resizing)
    least, largest = token_range(detector.config)
    for height, width in ((1, 1), (3, 500), (500, 3), (64, 64), (40, 75), (1200, 900), (128, 64)):
        image = prepare(np.zeros((height, width, 3), np.uint8), detector.config)
        assert least <= detector.tokens(image) <= largest


def test_counts_to_measure_span_the_range_and_are_dense_near_its_end():
    assert spread_counts(40, 1000) == (40, 343, 490, 700, 1000)
    assert spread_counts(600, 1000) == (600, 700, 1000)
    assert spread_counts(7, 7) == (7,)
