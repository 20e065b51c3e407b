"""Memory that glibc's allocator keeps, and when it gives it back to the system.

By default glibc takes large blocks from the system one by one and returns them when they are freed. A network's
activations are large blocks: every layer would fault its pages in anew, several thousand an image.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of `mallopt(3)`."""
KEPT_BYTES: Final = 2**30
"""Blocks up to this size come from memory that is kept, and so much of it stays when it is free."""


def keep_freed_memory() -> None:
    """Let the process keep freed memory for its next blocks, up to `KEPT_BYTES`. Without glibc, do nothing."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)


def return_freed_memory() -> None:
    """Give all freed memory back to the system, as after an exceptionally large image. Without glibc, do nothing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
