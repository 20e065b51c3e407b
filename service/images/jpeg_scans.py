"""How many scans a JPEG has: each is a pass over the whole image, however few bytes it takes."""

from __future__ import annotations

import re
from typing import Final

MOST_SCANS: Final = 100
"""As libtiff allows; encoders make about ten. A scan of 14 bytes costs as much time as one of megabytes."""

# In coded pixels 0xFF is followed by 0x00, and restarts (D0 to D7) mark places within a scan.
_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_START_OF_IMAGE: Final = b"\xff\xd8"
_WITHOUT_LENGTH: Final = (0x01, 0xD8)
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA


def count_scans(data: bytes) -> int:
    """Return the number of scans of the first JPEG image in `data`, and 0 for what is no JPEG.

    Markers inside segments (a thumbnail's) and after the image's end (a video's) do not count.
    """
    if not data.startswith(_START_OF_IMAGE):
        return 0
    scans, place = 0, len(_START_OF_IMAGE)
    while (found := _MARKER.search(data, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
        scans += marker == _START_OF_SCAN
    return scans
