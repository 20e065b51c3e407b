import numpy as np
import pytest
from PIL import Image

from models.data.image_files import read_rgb


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_counts_only_where_the_annotated_size_asks_for_it(tmp_path, orientation):
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    stored = read_rgb(tmp_path / "turned.png", 20, 40)
    assert stored[0, 0, 0] == 255
    assert stored[-1, -1, 0] == 0
    if orientation == 6:
        turned = read_rgb(tmp_path / "turned.png", 40, 20)
        assert (turned[0, :, 0] == 255).all()
        assert (turned[-1, :, 0] == 0).all()
    else:
        with pytest.raises(ValueError, match="turned"):
            read_rgb(tmp_path / "turned.png", 40, 20)


@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("LA", "PNG")])
def test_every_mode_becomes_rgb(tmp_path, mode, kind):
    path = tmp_path / "image"
    Image.new("RGB", (9, 5), (255, 255, 255)).convert(mode).save(path, kind)
    pixels = read_rgb(path, 5, 9)
    assert pixels.shape == (5, 9, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() > 250


def test_transparency_lies_on_white_and_sixteen_bits_are_scaled(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_rgb(tmp_path / "clear.png", 4, 4) == 255).all()
    Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (read_rgb(tmp_path / "deep.png", 4, 4) == 128).all()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="no defined white"):
        read_rgb(tmp_path / "float.tiff", 4, 4)


def test_a_scan_of_twelve_bits_is_as_bright_as_when_it_is_served(tmp_path):
    from service.images.image_decoding import decode_image

    path = tmp_path / "scan.tiff"
    Image.fromarray(np.full((4, 6), 4095, np.uint16)).save(path, tiffinfo={281: 4095})
    pixels = read_rgb(path, 4, 6)
    assert (pixels == 255).all()
    assert np.array_equal(pixels, decode_image(path.read_bytes(), max_bytes=10_000, max_pixels=100))
