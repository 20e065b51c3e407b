from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.rgb import UnknownSamples, read_samples, to_rgb

SHORT, LONG, FLOAT = 3, 4, 11
BITS, PHOTOMETRIC, SAMPLES, MIN, MAX, SAMPLE_FORMAT, SMIN, SMAX = 258, 262, 277, 280, 281, 339, 340, 341


def rgb(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data)) as image:
        samples = read_samples(image)
        image.load()
        return np.asarray(to_rgb(image, samples))


def tiff(pixels: bytes, width: int, height: int, order: str = "<", **tags: Any) -> bytes:
    """Return an uncompressed TIFF file of one strip; `tags` are (type, *values) by name of the constants above."""
    rows: dict[int, tuple[Any, ...]] = {
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, 16),
        259: (SHORT, 1),
        262: (SHORT, 1),
        277: (SHORT, 1),
        278: (LONG, height),
        279: (LONG, len(pixels)),
    } | {globals()[name]: value for name, value in tags.items()}
    kinds = {SHORT: "H", LONG: "I", FLOAT: "f"}
    rows[273] = (LONG, 0)
    start = 8 + 2 + 12 * len(rows) + 4
    directory, behind = b"", b""
    pixels_at = start + 4 * 64
    for tag, (kind, *values) in sorted(rows.items()):
        if tag == 273:
            values = [pixels_at]
        packed = struct.pack(f"{order}{len(values)}{kinds[kind]}", *values)
        if len(packed) > 4:
            field, behind = struct.pack(order + "I", start + len(behind)), behind + packed
        else:
            field = packed.ljust(4, b"\0")
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = head + struct.pack(order + "H", len(rows)) + directory + bytes(4) + behind
    return body.ljust(pixels_at, b"\0") + pixels


def greys(values: list[int], order: str = "<", **tags: Any) -> list[int]:
    """Return the shades of 16-bit samples in a row."""
    pixels = rgb(tiff(np.array(values, order + "u2").tobytes(), len(values), 1, order, **tags))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    return [int(value) for value in pixels[0, :, 0]]


SCAN = [0, 1024, 2048, 4095]
SHADES = [0, 64, 128, 255]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tag", ["MAX", "SMAX"])
@pytest.mark.parametrize("most", [4095, 3712, 2048])
def test_a_stated_maximum_says_how_many_bits_are_used(order: str, tag: str, most: int) -> None:
    assert greys(SCAN, order, **{tag: (SHORT, most)}) == SHADES


def test_without_a_stated_maximum_the_scale_is_full() -> None:
    assert greys([0, 4095, 65_535]) == [0, 16, 255]
    assert greys([0, 4095, 65_535], MAX=(SHORT, 65_535)) == [0, 16, 255]
    assert greys([0, 4095, 65_535], MAX=(SHORT, 0)) == [0, 16, 255]


def test_a_maximum_that_the_pixels_contradict_is_ignored() -> None:
    assert greys([0, 4096, 65_535], MAX=(SHORT, 4095)) == [0, 16, 255]
    assert greys([0, 2048], MAX=(SHORT, 1)) == [0, 8]
    assert colours([0, 4096, 65_535], 4095) == [0, 16, 255]
    assert colours([0, 4096, 65_535], 1) == [0, 16, 255]


def test_no_maximum_makes_fewer_than_eight_bits() -> None:
    assert greys([0, 3, 255], MAX=(SHORT, 1)) == [0, 3, 255]


def test_a_maximum_of_another_type_is_read_or_left() -> None:
    assert greys(SCAN, SMAX=(FLOAT, 4095.0)) == SHADES
    assert greys([0, 65_535], SMAX=(FLOAT, float("nan"))) == [0, 255]
    assert greys([0, 65_535], SMAX=(FLOAT, -5.0)) == [0, 255]


def test_twelve_packed_bits_are_twelve_bits() -> None:
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x08, 0x00])  # 0, 4095, 2048, 2048
    assert [int(value) for value in rgb(tiff(packed, 4, 1, BITS=(SHORT, 12)))[0, :, 0]] == [0, 255, 128, 128]


def test_white_is_zero_where_the_file_says_so() -> None:
    assert greys([0, 65_535], PHOTOMETRIC=(SHORT, 0)) == [255, 0]
    assert greys(SCAN, PHOTOMETRIC=(SHORT, 0), MAX=(SHORT, 4095)) == [255 - shade for shade in SHADES]


def colours(values: list[int], most: int) -> list[int]:
    data = np.array(values, "<u2").tobytes()
    bits = (SHORT, 16, 16, 16)
    tags = {"BITS": bits, "SAMPLES": (SHORT, 3), "PHOTOMETRIC": (SHORT, 2), "MAX": (SHORT, most, most, most)}
    return [int(value) for value in rgb(tiff(data, len(values) // 3, 1, **tags)).reshape(-1)]


def test_colours_of_twelve_bits_are_scaled_from_what_pillow_keeps() -> None:
    assert colours([0, 2048, 4095, 4095, 4080, 15], 4095) == [0, 136, 255, 255, 255, 0]
    assert colours([0, 32_768, 65_535], 65_535) == [0, 128, 255]


def test_colours_of_fewer_bits_are_refused() -> None:
    with pytest.raises(UnknownSamples, match="fewer than 12"):
        colours([0, 512, 1023], 1023)


@pytest.mark.parametrize(
    ("values", "format_tag"),
    [(np.array([[-1000, 0, 1000, 9999]], "<i2"), 2), (np.array([[-1000, 0, 1000, np.nan]], "<f4"), 3)],
)
def test_signed_and_float_samples_need_a_stated_range(values: Any, format_tag: int) -> None:
    bits = 8 * values.itemsize
    fields = {"BITS": (SHORT, bits), "SAMPLE_FORMAT": (SHORT, format_tag)}
    with pytest.raises(UnknownSamples, match="SMaxSampleValue"):
        rgb(tiff(values.tobytes(), 4, 1, **fields))
    fields |= {"SMIN": (FLOAT, -1000.0), "SMAX": (FLOAT, 1000.0)}
    shades = [int(value) for value in rgb(tiff(values.tobytes(), 4, 1, **fields))[0, :, 0]]
    assert shades[:3] == [0, 128, 255]
    assert shades[3] == (255 if format_tag == 2 else 0)


def test_pillow_itself_inverts_eight_bits() -> None:
    pixels = tiff(bytes([0, 255]), 2, 1, BITS=(SHORT, 8), PHOTOMETRIC=(SHORT, 0))
    assert rgb(pixels)[0, :, 0].tolist() == [255, 0]


def png(rows: bytes, width: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of one row."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(b"\0" + rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("key", [0, 1, 30_000, 65_535])
def test_a_transparent_grey_of_sixteen_bits_is_white(key: int) -> None:
    values = [key, 257, 32_768]
    data = png(struct.pack(">3H", *values), 3, 16, 0, (b"tRNS", struct.pack(">H", key)))
    assert rgb(data)[0, :, 0].tolist() == [255, 1, 128]


@pytest.mark.parametrize(("depth", "row"), [(1, 0b01000000), (2, 0b00010000), (4, 0x01)])
def test_a_transparent_grey_of_few_bits_is_white(depth: int, row: int) -> None:
    data = png(bytes([row]), 2, depth, 0, (b"tRNS", struct.pack(">H", 1)))
    assert rgb(data)[0, :, 0].tolist() == [0, 255]
    assert rgb(png(bytes([row]), 2, depth, 0))[0, 1, 0] == 255 // (2**depth - 1)


def test_a_transparent_colour_of_sixteen_bits_is_white() -> None:
    colour = struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
    data = png(colour + struct.pack(">3H", 0x2000, 0, 0), 2, 16, 2, (b"tRNS", colour))
    assert rgb(data)[0].tolist() == [[255, 255, 255], [0x20, 0, 0]]


def test_significant_bits_of_a_png_are_ignored() -> None:
    """PNG scales samples up to their depth; sBIT says how many bits they had before."""
    data = png(struct.pack(">2H", 0xFFFF, 0x8008), 2, 16, 0, (b"sBIT", bytes([12])))
    assert rgb(data)[0, :, 0].tolist() == [255, 128]


def test_large_images_are_converted_in_parts() -> None:
    values = np.arange(1100 * 1000, dtype=np.uint32).reshape(1100, 1000).astype(np.uint16)
    image = Image.fromarray(values)
    expected = (values.astype(np.uint32) * 255 + 32_767) // 65_535
    assert (np.asarray(to_rgb(image, read_samples(image)))[..., 1] == expected).all()
