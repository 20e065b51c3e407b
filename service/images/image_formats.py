"""The supported image formats, and detection of a file's format from its first bytes."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Formats that are decoded in this process, by Pillow's names."""
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
_MAX_BRANDS: Final = 64


def looks_readable(data: bytes) -> bool:
    """Return whether the first bytes are those of one of FORMATS."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith(_SIGNATURES)


def decoded_apart(data: bytes) -> str | None:
    """Return Pillow's name of a format that is decoded in a separate process, None for others."""
    if data.startswith(_JPEG_2000):
        return "JPEG2000"
    return "AVIF" if _AVIF.intersection(_brands(data)) else None


def refusal(data: bytes) -> str:
    """Return an error text for a file of an unsupported format."""
    brands = _brands(data)
    if not brands:
        jxl = data.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL "))
        return _convert("JPEG XL") if jxl else f"This is not a supported image. Supported formats: {_READABLE}."
    if _HEIF.intersection(brands):
        return _convert("HEIC/HEIF")
    return _convert(_OTHERS.get(brands[0], "a video or another ISO media file"))


def _convert(kind: str) -> str:
    return f"This is {kind}, which is not supported: convert it to JPEG or PNG. Supported formats: {_READABLE}."


def _brands(data: bytes) -> tuple[bytes, ...]:
    """Return the brands of an ISO media file, the major one first; empty for other files."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MAX_BRANDS, len(data))
    return tuple(data[start : start + 4] for start in (8, *range(16, end - 3, 4)))
