"""The size of an image whose boxes were drawn on it as stored, or as its EXIF orientation turns it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

ORIENTATION: Final = 0x0112
MAX_ORIENTATION: Final = 8
TURNING: Final = range(5, MAX_ORIENTATION + 1)
"""EXIF orientations that swap height and width."""

FROM_IMAGE: Final = "images without a size in the annotations, taken from the image"
AS_STORED: Final = "images that their EXIF orientation would turn, taken as stored because their annotated size is that"
AS_TURNED: Final = "images taken as their EXIF orientation turns them because their annotations are of that size"
UNDECIDED: Final = "images with an EXIF orientation that the annotations speak neither for nor against, taken as stored"


@dataclass(frozen=True, slots=True)
class Stored:
    """Pixels of an image file as they lie in it; `orientation` is EXIF's, 1: upright."""

    height: int
    width: int
    orientation: int = 1

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width as stored and, where EXIF turns the image on its side, after that."""
        both = [(self.height, self.width), (self.width, self.height)]
        return both if self.orientation in TURNING and self.height != self.width else both[:1]


def stored_size(path: Path, height: int | None, width: int | None) -> Stored:
    """Read an image's header; height and width are what is expected. Raises OSError and ValueError."""
    with path.open("rb") as file:
        try:
            with Image.open(file) as image:
                as_expected = image.size == (width, height)
                # Pillow decodes a whole PNG to look for EXIF behind its pixels: only where that would matter.
                exif = Image.Image.getexif(image) if as_expected else image.getexif()
                orientation = exif.get(ORIENTATION)
                if not isinstance(orientation, int) or not 1 <= orientation <= MAX_ORIENTATION:
                    orientation = 1
                return Stored(image.height, image.width, orientation)
        except UnidentifiedImageError:
            raise ValueError("is not a readable image: its format is unknown") from None
        except Exception as error:  # broken files make Pillow's plugins raise anything
            raise ValueError(f"is not a readable image: {error}") from error


def settled_size(
    stored: Stored, height: int | None, width: int | None, corners: Iterable[tuple[float, float]]
) -> tuple[tuple[int, int], list[str]]:
    """Height and width that the boxes are of, and what had to be assumed.

    `height` and `width` are annotated, None: not; `corners` are the bottom right ones (x, y) of the boxes. Raises
    ValueError where neither size of the image is the annotated one.
    """
    fitting = [(tall, wide) for tall, wide in stored.sizes if (height or tall) == tall and (width or wide) == wide]
    if not fitting:
        raise ValueError(f"are not those of the image, which is {stored.width} x {stored.height} pixels")
    open_ = height is None or width is None
    size = _holding(fitting, corners) if open_ else fitting[0]
    notices = [FROM_IMAGE] if open_ else []
    if size != (stored.height, stored.width):
        notices.append(AS_TURNED)
    elif stored.orientation != 1:
        notices.append(AS_STORED if len(stored.sizes) > 1 and not open_ else UNDECIDED)
    return size, notices


def _holding(sizes: list[tuple[int, int]], corners: Iterable[tuple[float, float]]) -> tuple[int, int]:
    """The first size that all boxes lie in; else the first."""
    points = list(corners)
    for height, width in sizes:
        if all(x <= width and y <= height for x, y in points):
            return height, width
    return sizes[0]
