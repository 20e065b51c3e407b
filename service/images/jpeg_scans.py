"""Counting the scans of a JPEG: each is a pass over the whole image, however few bytes it has."""

from __future__ import annotations

import re
from typing import Final

MAX_SCANS: Final = 100
"""libtiff's limit; encoders make about ten. A scan of 14 bytes takes as much time as one of megabytes."""

# In coded pixels, 0xFF is followed by 0x00; restart markers (D0 to D7) are within a scan.
_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_START_OF_IMAGE: Final = b"\xff\xd8"
_WITHOUT_LENGTH: Final = (0x01, 0xD8)
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA


def count_scans(data: bytes) -> int:
    """Return the number of scans of the first JPEG image in `data`, 0 for other files.

    Markers inside segments (a thumbnail's) and after the image's end (a video's) do not count.
    """
    if not data.startswith(_START_OF_IMAGE):
        return 0
    scans, position = 0, len(_START_OF_IMAGE)
    while (match := _MARKER.search(data, position)) is not None:
        marker, position = match[1][0], match.end()
        if marker == _END_OF_IMAGE:
            break
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
        scans += marker == _START_OF_SCAN
    return scans
