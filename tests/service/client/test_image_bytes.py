from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.client.image_bytes import image_bytes


def decoded(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    assert image.format == "PNG"
    return image


def test_bytes_and_files_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "Seite ü.jpg"
    path.write_bytes(b"whatever")
    for image in (b"whatever", bytearray(b"whatever"), memoryview(b"whatever"), path, str(path)):
        assert image_bytes(image) == b"whatever"


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_arrays_keep_their_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(np.asarray(decoded(image_bytes(pixels))), pixels)
    np.testing.assert_array_equal(np.asarray(decoded(image_bytes(pixels[::-1, ::2]))), pixels[::-1, ::2])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pillow_images_keep_their_mode(mode: str) -> None:
    assert decoded(image_bytes(Image.new(mode, (4, 3)))).size == (4, 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "F"])
def test_modes_that_png_lacks_become_rgb(mode: str) -> None:
    assert decoded(image_bytes(Image.new(mode, (4, 3)))).mode == "RGB"


def test_a_pillow_image_is_turned_upright_as_its_file_would_be(encoded: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(kind="JPEG", exif=exif)
    assert decoded(image_bytes(Image.open(BytesIO(file)))).size == (40, 60)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 \\[H, W, 3\\] in RGB"):
        image_bytes(pixels)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="not int"):
        image_bytes(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        image_bytes("nowhere.png")
