"""Pillow's pixels → RGB of 8 bits, as the file means them: its samples' range, inversion, transparent colour.

Read with `read_samples` before the pixels are loaded (Pillow forgets some of it then), and hand it to `to_rgb` after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BITS: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_THIRTY_TWO_BITS: Final = ("I", "F")
_COLOURS: Final = ("RGB", "RGBA", "CMYK")
_BITS, _PHOTOMETRIC, _MAX, _SMIN, _SMAX = 258, 262, 281, 340, 341  # TIFF tags
_WHITE_IS_ZERO: Final = 0
_FULL: Final = 2**16 - 1
_MIN_COLOUR_WHITE: Final = 15
"""Pillow keeps the upper eight of 16 bits of a colour: where fewer than 12 are in use, too little is left to scale."""
_ROWS_OF_PIXELS: Final = 1_000_000
_PNG_SCALE: Final = {"L;2": 85, "L;4": 17}


class UnknownSamples(ValueError):
    """The file's numbers are no shades: nothing says which is black and which is white, or too few bits are left."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the numbers in a file mean. `white` None: full scale of the pixels that Pillow gives.

    `transparent` is the grey, or the colour, that is wholly transparent, in the values of those pixels.
    """

    black: float = 0.0
    white: float | None = None
    inverted: bool = False
    transparent: int | tuple[int, ...] | None = None


def read_samples(image: Image.Image) -> Samples:
    """Return what an image that has been opened, and not yet loaded, says of its samples.

    Of TIFF: BitsPerSample, PhotometricInterpretation, MaxSampleValue, SMinSampleValue, SMaxSampleValue. The greatest
    value that is stated counts up to a whole number of bits, so that a statistic of a 12-bit scan means 12 bits; where
    the pixels go beyond it, it is wrong and counts for nothing.
    """
    if image.format == "TIFF":
        return _tiff_samples(image)
    if image.format == "PNG":
        return Samples(transparent=_png_transparency(image))
    return Samples()


def to_rgb(image: Image.Image, samples: Samples) -> Image.Image:
    """Return a loaded image as RGB of 8 bits; what is transparent lies on white.

    Raises UnknownSamples for 32 bits without a stated black and white, and what Pillow raises where it knows no way.
    """
    if image.mode in _SIXTEEN_BITS:
        return Image.fromarray(_grey_of_sixteen_bits(np.asarray(image), samples)).convert("RGB")
    if image.mode in _THIRTY_TWO_BITS:
        return Image.fromarray(_grey_of_thirty_two_bits(np.asarray(image), samples)).convert("RGB")
    if samples.white is not None and _greatest(image) <= samples.white:
        if samples.white < _MIN_COLOUR_WHITE:
            raise UnknownSamples("Of the 16 bits of a colour fewer than 12 are used: convert the image to 8 bits.")
        image = image.point(_scale(256, samples.white).tolist() * len(image.getbands()))
    if samples.transparent is not None:
        image.info["transparency"] = samples.transparent
    return _on_white(image.convert("RGBA")) if image.has_transparency_data else image.convert("RGB")


def _tiff_samples(image: Image.Image) -> Samples:
    stored = _first(image, _BITS) or 1
    inverted = _first(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode in _THIRTY_TWO_BITS:
        black, white = _first(image, _SMIN), _first(image, _SMAX)
        known = black is not None and white is not None and black < white
        return Samples(black or 0.0, white, inverted) if known else Samples()
    stated = max((_first(image, tag) or 0 for tag in (_MAX, _SMAX)), default=0)
    bits = min(stored, max(8, int(stated).bit_length())) if stated >= 1 else stored
    if image.mode in _SIXTEEN_BITS:
        return Samples(white=2 ** int(bits) - 1, inverted=inverted)
    if image.mode in _COLOURS and stored == 16 and bits < stored:
        return Samples(white=2 ** (int(bits) - 8) - 1)
    return Samples()


def _first(image: Image.Image, tag: int) -> float | None:
    """Return the greatest value of a tag, as samples share one scale; None where there is none that is a number."""
    try:
        value: Any = image.tag_v2.get(tag)  # type: ignore[attr-defined]  # a TIFF has it
    except Exception:  # a broken tag says nothing; it can raise anything
        return None
    try:
        greatest = max(float(part) for part in (value if isinstance(value, tuple) else (value,)))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return greatest if math.isfinite(greatest) else None


def _png_transparency(image: Image.Image) -> int | tuple[int, ...] | None:
    """Return the transparent grey or colour on the scale of Pillow's pixels, where the file's is another."""
    key = image.info.get("transparency")
    kind = image.tile[0].args if image.tile else None  # type: ignore[attr-defined]  # of an image that has been opened
    if isinstance(key, int) and (str(kind) in _PNG_SCALE or image.mode in _SIXTEEN_BITS):
        return key * _PNG_SCALE.get(str(kind), 1)
    if isinstance(key, tuple) and kind == "RGB;16B":
        return tuple(value >> 8 for value in key)
    return None


def _grey_of_sixteen_bits(values: NDArray[np.uint16], samples: Samples) -> NDArray[np.uint8]:
    white = samples.white or _FULL
    shades = _scale(_FULL + 1, white if values.max(initial=0) <= white else _FULL)
    if samples.inverted:
        shades = 255 - shades
    if isinstance(samples.transparent, int):
        shades[samples.transparent & _FULL] = 255
    grey = np.empty(values.shape, np.uint8)
    step = max(1, _ROWS_OF_PIXELS // max(1, values.shape[1]))
    for row in range(0, len(values), step):  # numpy makes eight bytes of each index
        grey[row : row + step] = shades[values[row : row + step]]
    return grey


def _greatest(image: Image.Image) -> int:
    """Return the greatest value of any band."""
    return max(int(high) for _, high in np.reshape(image.getextrema(), (-1, 2)))


def _scale(levels: int, white: float) -> NDArray[np.uint8]:
    """Return the shade of every value: 0 is black, `white` and what lies above are white."""
    values = np.arange(levels, dtype=np.int64) * 255
    return np.minimum((values + int(white) // 2) // int(white), 255).astype(np.uint8)


def _grey_of_thirty_two_bits(values: NDArray[Any], samples: Samples) -> NDArray[np.uint8]:
    if samples.white is None:
        raise UnknownSamples(
            "Pixels of signed or 32-bit samples have no defined white: convert to 8 or 16 bits, "
            "or state SMinSampleValue and SMaxSampleValue."
        )
    grey = values.astype(np.float32)
    grey -= np.float32(samples.black)
    grey *= np.float32(255 / (samples.white - samples.black))
    np.nan_to_num(grey, copy=False, nan=0.0)
    np.clip(np.rint(grey, out=grey), 0, 255, out=grey)
    shades = grey.astype(np.uint8)
    return 255 - shades if samples.inverted else shades


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
