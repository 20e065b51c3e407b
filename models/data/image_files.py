"""The image files of a data set, read as its annotations mean them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

GREY_STEPS: Final = {"L;2": 85, "L;4": 17}
"""What a step of grey is in 8 bits, by how Pillow reads a PNG of 2 or 4."""


def read_rgb(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read an image as uint8 RGB [height, width, 3], the size that its boxes were drawn on.

    Its pixels lie as they are stored, as COCO's tools see them; they are turned as the EXIF data say only where
    the image has its annotated size then and not before. Greyscale, palettes and CMYK become RGB, transparency
    lies on white, 16 bits a channel are scaled to 8.

    Raises OSError for a file that cannot be opened and ValueError, naming it, for one that is broken or of
    another size.
    """
    with path.open("rb") as file:
        try:
            with Image.open(file) as image:
                _scale_transparency(image)
                image.load()
                size = image.size
                pixels = np.asarray(_rgb(image if size == (width, height) else ImageOps.exif_transpose(image)))
        except Exception as error:  # broken files make Pillow's plugins raise anything
            raise ValueError(f"{path} is not a readable image: {error}") from error
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"{path} is {size[0]} x {size[1]} pixels; its annotations say {width} x {height}")
    return pixels


def _scale_transparency(image: Image.Image) -> None:
    """Give a PNG's transparent grey the scale of its pixels: Pillow spreads 2 and 4 bits over 8, but not this value."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    rawmode = tiles[0].args if tiles else None
    if rawmode in GREY_STEPS and "transparency" in image.info:
        image.info["transparency"] *= GREY_STEPS[rawmode]


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode that has a defined white."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values * 255 + 32_767) // 65_535).astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 255  # a PNG's transparent grey lies on white, too
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits a channel have no defined white")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
