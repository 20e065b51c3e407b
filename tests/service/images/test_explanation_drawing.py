from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.images.explanation_drawing import (
    BORDER,
    LIGHTNESS,
    MAX_SIDE,
    NEGATIVE,
    POSITIVE,
    draw_clusters,
    draw_weights,
)

GREY = np.full((60, 90, 3), 128, np.uint8)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)))


def luminance(color) -> float:
    linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_every_cluster_has_a_color_and_a_border():
    clusters = np.array([[5, 5, 9], [5, 7, 9]])
    shown = pixels(draw_clusters(GREY, clusters))
    centres = shown[[15, 15, 15, 45, 45, 45], [15, 45, 75, 15, 45, 75]]
    assert len({tuple(color) for color in centres}) == 3
    assert (centres[0] == centres[1]).all()
    assert (centres[0] == centres[3]).all()
    assert tuple(shown[15, 60]) == tuple(shown[30, 45]) == tuple(shown[45, 30]) == BORDER
    assert tuple(shown[15, 30]) != BORDER


def test_colors_follow_from_the_shape_of_clusters_not_from_their_numbers():
    clusters = np.array([[0, 1], [2, 1]])
    assert draw_clusters(GREY, clusters) == draw_clusters(GREY, np.array([[40, 3], [17, 3]]))


def test_hundreds_of_clusters_differ_from_their_neighbours():
    shown = pixels(draw_clusters(np.full((200, 300, 3), 128, np.uint8), np.arange(600).reshape(20, 30)))
    centres = shown[5::10, 5::10].astype(int)
    assert len(LIGHTNESS) < len({tuple(color) for color in centres.reshape(-1, 3)})
    assert np.abs(np.diff(centres, axis=1)).sum(-1).min() > 60


def test_weights_are_bright_by_their_size_and_have_a_color_by_their_sign():
    weights = np.array([[0.0, 0.04, 0.16], [-0.16, -0.04, 0.0]], np.float32)
    shown = pixels(draw_weights(GREY, weights, 0.16, (89, 59)))[[15, 15, 15, 45, 45], [15, 45, 75, 15, 45]]
    zero, some, most, least, fewer = (luminance(color) for color in shown)
    assert zero < some < most
    assert zero < fewer < least
    assert shown[2][0] > shown[2][2]
    assert shown[3][2] > shown[3][0]


@pytest.mark.parametrize("ramp", [POSITIVE, NEGATIVE])
def test_scales_rise_in_lightness_in_even_steps(ramp):
    lightness = [116 * max(luminance(color), 0.008857) ** (1 / 3) - 16 for color in ramp]
    steps = np.diff(lightness)
    assert steps.min() > 10
    assert steps.max() < 1.6 * steps.mean()


def test_most_is_the_end_of_the_scale_whatever_the_weights_are():
    weights = np.full((2, 3), 0.1, np.float32)
    bright, dark = (pixels(draw_weights(GREY, weights, most, (0, 0)))[45, 75] for most in (0.1, 10))
    assert luminance(bright) > luminance(dark)


@pytest.mark.parametrize("draw", [draw_clusters, lambda *args: draw_weights(*args, 1.0, (5, 0))])
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (3000, 2000), (7, 5)])
def test_pictures_are_bounded_and_keep_the_shape(draw, size):
    width, height = size
    image = Image.open(BytesIO(draw(np.zeros((height, width, 3), np.uint8), np.zeros((4, 6), np.int64))))
    scale = min(1, MAX_SIDE / max(size))
    assert image.size == (max(1, round(width * scale)), max(1, round(height * scale)))


def test_the_point_is_marked_where_it_is():
    image = np.zeros((2048, 1024, 3), np.uint8)
    weights = np.zeros((4, 2), np.float32)
    shown = pixels(draw_weights(image, weights, 1.0, (512.0, 1500.0)))
    rows, columns = np.nonzero((shown == 255).all(-1))
    assert (round(columns.mean()), round(rows.mean())) == (256, 750)
    assert (shown == 255).all(-1).sum() == (pixels(draw_clusters(image, weights.astype(int), (512, 1500))) == 255).all(
        -1
    ).sum()
