"""Which image formats are read, and what a file is by its first bytes."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What Pillow decodes in this process, by its own names."""
MEDIA_TYPES: Final = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/avif",
    "image/jp2",
    "image/bmp",
    "image/gif",
    "image/tiff",
)

_READABLE: Final = "JPEG, PNG, WebP, AVIF, JPEG 2000, BMP, GIF (first frame) and TIFF (first page)"
_SIGNATURES: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
)
_JPEG_2000: Final = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIF: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1", b"miaf"}
)
_OTHERS: Final = {b"jxl ": "JPEG XL", b"crx ": "a raw photograph (CR3)"}
_MOST_BRANDS: Final = 64


def looks_readable(data: bytes) -> bool:
    """Tell whether the first bytes are those of one of FORMATS."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith(_SIGNATURES)


def decoded_apart(data: bytes) -> str | None:
    """Return Pillow's name of the format if it is one that is decoded in a process of its own, else None."""
    if data.startswith(_JPEG_2000):
        return "JPEG2000"
    return "AVIF" if _AVIF.intersection(_brands(data)) else None


def refusal(data: bytes) -> str:
    """Return a sentence for the owner of a file that is of no format that is read."""
    brands = _brands(data)
    if not brands:
        jxl = data.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL "))
        return _convert("JPEG XL") if jxl else f"These bytes are none of {_READABLE}."
    if _HEIF.intersection(brands):
        return _convert("HEIC/HEIF")
    return _convert(_OTHERS.get(brands[0], "a film or another ISO media file"))


def _convert(kind: str) -> str:
    return f"This is {kind}, which is not read: convert it to JPEG or PNG. Read are {_READABLE}."


def _brands(data: bytes) -> tuple[bytes, ...]:
    """Return the brands of an ISO media file, the major one first; none for other files."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MOST_BRANDS, len(data))
    places = (8, *range(16, end - 3, 4))
    return tuple(data[place : place + 4] for place in places)
