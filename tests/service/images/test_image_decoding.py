from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import TooManyBytes, TooManyPixels, UndecodableImage, UnsupportedImageType
from service.images.image_decoding import decode_image

Encode = Callable[..., bytes]
LOSSLESS = [
    ("JPEG2000", {}),
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
]


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decode(data: bytes, max_bytes: int = 10**6, max_pixels: int = 10**6) -> Any:
    return decode_image(data, max_bytes=max_bytes, max_pixels=max_pixels)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_formats_give_the_exact_pixels(encoded: Encode, kind: str, options: dict[str, Any]) -> None:
    pixels = decode(encoded(kind=kind, **options))
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == decode(encoded())).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_lossy_formats_come_near(encoded: Encode, kind: str) -> None:
    pixels = decode(encoded(kind=kind))
    assert np.abs(pixels.astype(int) - decode(encoded())).mean() < 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 257, 32_768, 65_535]], np.uint16)
    pixels = decode(saved(Image.fromarray(values), kind))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_thirty_two_bits_are_refused() -> None:
    with pytest.raises(UndecodableImage, match="32-bit"):
        decode(saved(Image.new("F", (3, 3), 0.5), "TIFF"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_every_mode_of_pixels_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (4, 3), "white").convert(mode)
    pixels = decode(saved(image, "TIFF"))
    assert pixels.shape == (3, 4, 3)
    assert (pixels == 255).all()


def test_transparency_lies_on_white() -> None:
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert np.abs(decode(saved(half))[0, 0].astype(int) - [255, 127, 127]).max() <= 1
    assert decode(saved(Image.new("LA", (1, 1), (0, 0))))[0, 0].tolist() == [255, 255, 255]


def test_transparent_colours_of_palette_and_rgb_lie_on_white() -> None:
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    assert decode(saved(palette, transparency=0))[0, 0].tolist() == [255, 255, 255]
    assert decode(saved(Image.new("RGB", (1, 1), (1, 2, 3)), transparency=(1, 2, 3)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    upright = Image.fromarray(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3))
    stored = upright.transpose(TURNS[orientation]) if orientation in TURNS else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(saved(stored, kind, exif=exif)) == np.asarray(upright)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_avif_is_applied_once(orientation: int) -> None:
    corners = Image.new("RGB", (64, 32), "black")
    corners.paste("red", (0, 0, 32, 16))
    corners.paste("blue", (32, 16, 64, 32))
    upright = decode(saved(corners, "AVIF"))
    stored = corners
    if orientation in TURNS:
        stored = corners.transpose(TURNS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = decode(saved(stored, "AVIF", exif=exif))
    assert turned.shape == upright.shape
    assert np.abs(turned.astype(int) - upright).mean() < 12


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_transparency_of_formats_decoded_apart_lies_on_white(kind: str) -> None:
    half = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 8, 16))
    pixels = decode(saved(half, kind))
    assert np.abs(pixels[:, 12:].astype(int) - 255).max() <= 8
    assert np.abs(pixels[:, :4].mean((0, 1)) - [0, 0, 255]).max() <= 12


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_jpeg_2000_of_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (9, 7), "white").convert(mode)
    pixels = decode(saved(image, "JPEG2000"))
    assert pixels.shape == (7, 9, 3)
    assert (pixels == 255).all()


def test_a_grey_avif_and_a_bare_codestream_decode() -> None:
    assert np.abs(decode(saved(Image.new("L", (9, 7), 100), "AVIF")).astype(int) - 100).max() <= 4
    assert (decode(saved(Image.new("RGB", (9, 7), (1, 2, 3)), "JPEG2000", no_jp2=True)) == [1, 2, 3]).all()


def test_first_frame_of_an_avif_animation_counts() -> None:
    frames = [Image.new("RGB", (32, 16), color) for color in ("red", "blue")]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode(data)[0, 0].astype(int) - [255, 0, 0]).max() <= 12


@pytest.mark.parametrize("kind", ["PNG", "AVIF", "JPEG2000"])
def test_limits_are_exact(encoded: Encode, kind: str) -> None:
    data = encoded(kind=kind)
    assert decode(data, max_bytes=len(data), max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(TooManyBytes):
        decode(data, max_bytes=len(data) - 1)
    with pytest.raises(TooManyPixels):
        decode(data, max_pixels=2399)


def test_broken_exif_is_ignored(encoded: Encode) -> None:
    data = encoded(kind="JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode(data).shape == (40, 60, 3)


def test_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (1_001, 1_000)])
def test_pixel_limit_is_checked_before_the_pixels_are_read(size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixels):  # there are no pixels here at all
        decode(png_header(*size) + chunk(b"IDAT", b""))


def test_webp_bomb_is_refused() -> None:
    canvas = struct.pack("<I", 0) + (16_382).to_bytes(3, "little") + (16_382).to_bytes(3, "little")
    data = b"WEBPVP8X" + struct.pack("<I", 10) + canvas
    with pytest.raises((TooManyPixels, UndecodableImage)):
        decode(b"RIFF" + struct.pack("<I", len(data)) + data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_truncated_files_are_refused(encoded: Encode, kind: str, share: float) -> None:
    data = encoded(kind=kind, size=(200, 150))
    with pytest.raises(UndecodableImage):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data", [b"hello", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00" * 100, b"8BPS\x00\x01"]
)
def test_other_files_are_of_an_unsupported_type(data: bytes) -> None:
    with pytest.raises(UnsupportedImageType):
        decode(data)


def test_pillow_formats_outside_the_list_are_not_read() -> None:
    with pytest.raises(UnsupportedImageType):
        decode(saved(Image.new("RGB", (3, 3)), "PPM"))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="empty"):
        decode(b"")


def test_a_single_pixel_and_a_thin_line_decode() -> None:
    assert decode(saved(Image.new("RGB", (1, 1)))).shape == (1, 1, 3)
    assert decode(saved(Image.new("RGB", (5000, 1)))).shape == (1, 5000, 3)


def test_a_jpeg_of_endless_scans_is_refused(encoded: Encode) -> None:
    image = encoded(kind="JPEG", progressive=True)
    scan = image[image.rfind(b"\xff\xda") : -2]
    decode(image[:-2] + 90 * scan + image[-2:])
    with pytest.raises(UndecodableImage, match="scans"):
        decode(image[:-2] + 91 * scan + image[-2:])


def greedy_directory(filler: int) -> bytes:
    """Return TIFF data with an orientation and 200 tags that each claim all of the filler behind them."""
    tags = b"".join(struct.pack("<HHII", 40_000 + number, 7, filler, 8 + 2 + 201 * 12 + 4) for number in range(200))
    return b"II*\x00" + struct.pack("<IHHHII", 8, 201, 0x0112, 3, 1, 6) + tags + bytes(4) + bytes(filler)


def in_png(exif: bytes) -> bytes:
    image = saved(Image.new("RGB", (4, 4)))
    return image[:33] + chunk(b"eXIf", exif) + image[33:]


def in_jpeg(exif: bytes) -> bytes:
    image = saved(Image.new("RGB", (4, 4)), "JPEG")
    segments = [b"Exif\0\0" + exif[start : start + 60_000] for start in range(0, len(exif), 60_000)]
    return image[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in segments) + image[2:]


@pytest.mark.parametrize("file", [bytes, in_png, in_jpeg])
@pytest.mark.filterwarnings("ignore:Tag data larger")
def test_metadata_takes_no_more_memory_than_a_few_times_its_file(file: Callable[[bytes], bytes]) -> None:
    data = file(greedy_directory(500_000))
    tracemalloc.start()
    try:
        decode(data)
    except UndecodableImage:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000  # 200 tags of 500 kB would be a hundred
