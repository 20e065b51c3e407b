"""The pixels of one image: decoded, used, and given back to the system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.allocator import return_freed_memory

T = TypeVar("T")

LARGE_BYTES: Final = 32 * 2**20
"""About eleven megapixels. For smaller images it costs more time to give memory back than the memory is worth."""


def use_pixels(decode: Callable[[], NDArray[np.uint8]], use: Callable[[NDArray[np.uint8]], T]) -> T:
    """Return what `use` makes of the decoded pixels, which must not hold them itself.

    Memory that a large image and its decoding took is free afterwards, but glibc would keep it for the thread.
    """
    pixels = decode()
    large = pixels.nbytes > LARGE_BYTES
    result = use(pixels)
    del pixels
    if large:
        return_freed_memory()
    return result
