"""Images of a caller's program as the bytes of an image file."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

    AnyImage = bytes | bytearray | memoryview | str | os.PathLike[str] | PIL.Image.Image | NDArray[np.uint8]
    """The bytes of an image file, the path of one, or pixels."""
else:
    AnyImage = Any  # the annotation must not import Pillow

_LOSSLESS: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Pillow's modes that PNG has too."""


def image_bytes(image: AnyImage) -> bytes:
    """Return the bytes of an image file: those given, those of the file at a path, or pixels as PNG.

    A Pillow image is turned upright as its EXIF orientation says, as its file would be. An array is uint8 in RGB
    [H, W, 3], RGBA [H, W, 4] or grey [H, W]. Raises OSError for a file that cannot be read, ValueError for another
    array, TypeError for anything else.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    return _png(image)


def _png(image: Any) -> bytes:
    import PIL.Image
    import PIL.ImageOps

    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(_checked(image))
    if not isinstance(image, PIL.Image.Image):
        raise TypeError(f"an image is bytes, a path, a Pillow image or an array of uint8, not {type(image).__name__}")
    image = PIL.ImageOps.exif_transpose(image)
    buffer = BytesIO()
    (image if image.mode in _LOSSLESS else image.convert("RGB")).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _checked(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    channels = pixels.shape[2:]
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in ((), (3,), (4,)) or not pixels.size:
        raise ValueError(
            "an array of pixels is uint8 [H, W, 3] in RGB, [H, W, 4] in RGBA or [H, W] in grey, "
            f"not {pixels.dtype} {list(pixels.shape)}"
        )
    return pixels
