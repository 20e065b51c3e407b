"""The image files of a data set, read as its annotations mean them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.rgb import read_samples, to_rgb


def read_rgb(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read an image as uint8 RGB [height, width, 3], the size that its boxes were drawn on.

    Its pixels lie as they are stored, as COCO's tools see them; they are turned as the EXIF data say only where
    the image has its annotated size then and not before. Greyscale, palettes and CMYK become RGB, transparency
    lies on white, more than 8 bits are scaled to 8, as when serving (`models.rgb`).

    Raises OSError for a file that cannot be opened and ValueError, naming it, for one that is broken or of
    another size.
    """
    with path.open("rb") as file:
        try:
            with Image.open(file) as image:
                samples = read_samples(image)
                image.load()
                size = image.size
                upright = image if size == (width, height) else ImageOps.exif_transpose(image)
                pixels = np.asarray(to_rgb(upright, samples))
        except Exception as error:  # broken files make Pillow's plugins raise anything
            raise ValueError(f"{path} is not a readable image: {error}") from error
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"{path} is {size[0]} x {size[1]} pixels; its annotations say {width} x {height}")
    return pixels
