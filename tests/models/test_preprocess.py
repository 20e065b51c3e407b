import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.preprocess import normalise, prepare, resized


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1066)), ((640, 480), (1066, 800)), ((800, 800), (800, 800)), ((500, 2000), (333, 1332))],
)
def test_sizes_are_the_published_ones(size, expected):
    assert resized(*size, shortest_side=800, longest_side=1333) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_no_image_is_too_long_or_empty_after_resizing(height, width):
    new = resized(height, width, shortest_side=352, longest_side=640)
    assert 1 <= min(new) <= 352
    assert max(new) <= 640
    assert (new[0] < new[1]) <= (height < width)


def test_pixels_are_pillows_and_sizes_are_kept(tiny_config):
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    prepared = prepare(image, tiny_config)
    expected = Image.fromarray(image).resize((64, 85), Image.Resampling.BILINEAR)
    assert (prepared.height, prepared.width) == (85, 64)
    assert (prepared.original_height, prepared.original_width) == (40, 30)
    assert np.array_equal(prepared.pixels.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_normalised_by_channel(tiny_config):
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255
    pixels = normalise(prepare(image, tiny_config).pixels, tiny_config)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(pixels[:, 0, 0], torch.tensor(expected))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_anything_but_rgb_bytes_is_refused(tiny_config, image):
    with pytest.raises(ValueError, match="uint8 image"):
        prepare(image, tiny_config)
