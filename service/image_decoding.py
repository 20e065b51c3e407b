"""Encoded bytes → RGB pixels, with the limits checked before anything is decoded."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import TooManyBytes, TooManyPixels, UndecodableImage, UnsupportedImageType
from service.jpeg_scans import MOST_SCANS, count_scans

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff")

_READABLE: Final = "JPEG, PNG, WebP, BMP, GIF (first frame) and TIFF (first page)"
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
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS: Final = ("I;16", "I;16B", "I;16L", "I;16N")


def decode_image(data: bytes, *, max_bytes: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image into RGB [H, W, 3], upright as its EXIF orientation says.

    Greyscale and palettes become RGB, transparency lies on white, 16 bits are scaled to 8, CMYK is converted;
    of animations and documents the first frame counts. Thread-safe; Pillow lets other threads run meanwhile.

    Raises TooManyBytes, TooManyPixels (before decoding), UnsupportedImageType, UndecodableImage (also for
    truncated files, and for JPEGs of more than MOST_SCANS scans).
    """
    if len(data) > max_bytes:
        raise TooManyBytes(f"An image may have {max_bytes} bytes at most.", limit=max_bytes)
    if not data:
        raise UndecodableImage("The image is empty: it has no bytes.")
    with _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise TooManyPixels(
                f"The image is {width} x {height} pixels; {max_pixels} pixels are allowed.", limit=max_pixels
            )
        if count_scans(data) > MOST_SCANS:
            raise UndecodableImage(f"The JPEG has more than {MOST_SCANS} scans.")
        return np.asarray(_rgb(_upright(_loaded(image))))


def _open(data: bytes) -> Image.Image:
    """Read the header alone. Pillow's own guard against bombs sits above every limit that can be set."""
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels("The image says that it has more pixels than are allowed.") from None
    except Exception as error:
        if _looks_readable(data):
            raise UndecodableImage("The image's header is truncated or corrupt.") from error
        raise UnsupportedImageType(f"These bytes are none of {_READABLE}.") from error


def _looks_readable(data: bytes) -> bool:
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith(_SIGNATURES)


def _loaded(image: Image.Image) -> Image.Image:
    """Decode the pixels. Broken files make Pillow's plugins raise anything: all of it means the same."""
    try:
        image.load()
    except Exception as error:
        raise UndecodableImage("The image is truncated or corrupt.") from error
    if not image.width or not image.height:
        raise UndecodableImage("The image has no pixels.")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF data say; broken data say nothing. TIFF has turned itself while loading."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32_767) // 65_535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UndecodableImage("Pixels of 32 bits a channel have no defined white: convert to 8 or 16 bits.")
    try:
        if image.has_transparency_data:
            return _on_white(image.convert("RGBA"))
        return image.convert("RGB")
    except Exception as error:
        raise UndecodableImage(f"Pixels of kind {image.mode} cannot be converted to RGB.") from error


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
