from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from service.errors import UnsupportedImageType
from service.images.image_decoding import decode_image
from service.images.image_formats import FORMATS, MEDIA_TYPES, decoded_apart, looks_readable


def media(major: bytes, *compatible: bytes) -> bytes:
    brands = major + bytes(4) + b"".join(compatible)
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x08mdat"


def complaint(data: bytes) -> str:
    with pytest.raises(UnsupportedImageType) as error:
        decode_image(data, max_bytes=10**6, max_pixels=10**6)
    return str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        media(b"heic", b"mif1", b"heic"),
        media(b"heix"),
        media(b"mif1", b"heic", b"miaf"),
        media(b"msf1", b"hevc"),
        media(b"mif1"),
    ],
)
def test_heic_is_refused_with_advice_to_convert(data: bytes) -> None:
    text = complaint(data)
    assert "HEIC/HEIF" in text
    assert "convert it to JPEG or PNG" in text


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (media(b"isom", b"mp42"), "video"),
        (media(b"qt  "), "video"),
        (media(b"crx ", b"crx ", b"isom"), "raw photograph"),
        (media(b"jxl "), "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + media(b"jxl "), "JPEG XL"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
    ],
)
def test_other_media_are_refused_by_name(data: bytes, kind: str) -> None:
    text = complaint(data)
    assert kind in text
    assert "convert it to JPEG or PNG" in text


@pytest.mark.parametrize(
    "data", [b"\0\0\0\x08ftyp", b"\0\0\0\0ftyp", b"\xff\xff\xff\xffftypheic", b"\0\0\0\x14ftypheic\0\0\0\0m", b"ftyp"]
)
def test_broken_brands_are_refused(data: bytes) -> None:
    assert "JPEG" in complaint(data)


def test_every_format_is_listed_in_a_refusal() -> None:
    text = complaint(b"hello").lower().replace("jpeg 2000", "jp2")
    assert all(kind.removeprefix("image/") in text for kind in MEDIA_TYPES)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_bytes_tell_formats_that_are_read_here(kind: str) -> None:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    assert looks_readable(buffer.getvalue())
    assert decoded_apart(buffer.getvalue()) is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (media(b"avif", b"mif1"), "AVIF"),
        (media(b"avis", b"avif"), "AVIF"),
        (media(b"mif1", b"miaf", b"avif"), "AVIF"),
        (b"\xff\x4f\xff\x51\0", "JPEG2000"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    ],
)
def test_the_first_bytes_tell_formats_that_are_read_apart(data: bytes, kind: str) -> None:
    assert decoded_apart(data) == kind
