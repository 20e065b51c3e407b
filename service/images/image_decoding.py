"""Decoding of images into RGB pixels; limits are checked before anything is decoded."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.rgb import Samples, UnknownSamples, read_samples, to_rgb
from service.errors import TooManyBytes, TooManyPixels, UndecodableImage, UnsupportedImageType
from service.images.decoding_apart import decode_apart
from service.images.image_formats import FORMATS, decoded_apart, looks_readable, refusal
from service.images.jpeg_scans import MAX_SCANS, count_scans
from service.settings import PILLOW_PIXEL_GUARD


def decode_image(data: bytes, *, max_bytes: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image into RGB [H, W, 3], upright as its EXIF orientation says.

    Greyscale, palettes and CMYK are converted, transparent pixels are put on white, and more than 8 bits are scaled to
    8 (TIFF's tags say what is white). Of animations and documents, the first frame is decoded. Thread-safe; other
    threads run meanwhile.

    Raises TooManyBytes, TooManyPixels (before decoding), UnsupportedImageType, UndecodableImage (also for truncated
    files and for JPEGs of more than MAX_SCANS scans).
    """
    if len(data) > max_bytes:
        raise TooManyBytes(f"An image may have at most {max_bytes} bytes.", limit=max_bytes)
    if not data:
        raise UndecodableImage("The image is empty.")
    if kind := decoded_apart(data):
        return np.asarray(_rgb(_upright(decode_apart(data, kind, max_pixels=max_pixels)), Samples()))
    with _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise TooManyPixels(
                f"The image is {width} x {height} pixels; {max_pixels} pixels are allowed.", limit=max_pixels
            )
        if count_scans(data) > MAX_SCANS:
            raise UndecodableImage(f"The JPEG has more than {MAX_SCANS} scans.")
        samples = _samples(image)
        return np.asarray(_rgb(_upright(_loaded(image)), samples))


def decode_file(path: Path) -> NDArray[np.uint8]:
    """Decode a file of the user's own, bounded only by Pillow's limit on pixels. Raises as `decode_image`, OSError."""
    data = path.read_bytes()
    return decode_image(data, max_bytes=len(data), max_pixels=PILLOW_PIXEL_GUARD)


def _open(data: bytes) -> Image.Image:
    """Read only the header. Pillow's own limit on pixels is above every limit that can be set."""
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels("The image has more pixels than are allowed.") from None
    except Exception as error:
        if looks_readable(data):
            raise UndecodableImage("The image's header is truncated, corrupt or of an unsupported variant.") from error
        raise UnsupportedImageType(refusal(data)) from error


def _samples(image: Image.Image) -> Samples:
    try:
        return read_samples(image)
    except UnknownSamples as error:
        raise UndecodableImage(str(error)) from None


def _loaded(image: Image.Image) -> Image.Image:
    """Decode the pixels. For broken files, Pillow's plugins may raise any exception."""
    try:
        image.load()
    except Exception as error:
        raise UndecodableImage("The image is truncated or corrupt.") from error
    if not image.width or not image.height:
        raise UndecodableImage("The image has no pixels.")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF data say; broken data are ignored. Pillow turns TIFF itself while loading."""
    with suppress(Exception):
        image.getexif()  # parsed and kept: ImageOps would write all of its raw form again, however large its tags
        for raw in ("exif", "Raw profile type exif"):
            image.info.pop(raw, None)
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image, samples: Samples) -> Image.Image:
    try:
        return to_rgb(image, samples)
    except UnknownSamples as error:
        raise UndecodableImage(str(error)) from None
    except Exception as error:
        raise UndecodableImage(f"Pixels of mode {image.mode} cannot be converted to RGB.") from error
