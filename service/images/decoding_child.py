"""Decodes one image in a separate process whose memory and time are bounded by the image's size.

    python -I -S decoding_child.py FOLDER FORMAT MAX_PIXELS BASE_MEMORY BYTES_PER_PIXEL SECONDS < image > pixels

FOLDER contains Pillow. Writes a line (mode, width, height, EXIF orientation or 0), then the pixels; for an image of
more than MAX_PIXELS only the line, with the mode `-`. `decoding_apart` runs it. It imports nothing of the service, as
every import takes time for every image.
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION: Final = 0x0112
_SENT_AS_THEY_ARE: Final = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16")


def main() -> None:
    """Decode standard input. After an exception, or if the kernel ends it, the exit status is not 0."""
    folder, kind, *numbers = sys.argv[1:]
    max_pixels, memory, bytes_per_pixel, seconds = map(int, numbers)
    hard = memory + bytes_per_pixel * max_pixels
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    sys.path.append(folder)
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None  # checked below
    with Image.open(sys.stdin.buffer, formats=(kind,)) as image:
        width, height = image.size
        if width * height > max_pixels:
            sys.stdout.write(f"- {width} {height} 0\n")
            return
        resource.setrlimit(resource.RLIMIT_AS, (memory + bytes_per_pixel * width * height, hard))
        image.load()
        _write(image)


def _write(image: Image.Image) -> None:
    pixels = image if image.mode in _SENT_AS_THEY_ARE else image.convert("RGBA")
    head = f"{pixels.mode} {pixels.width} {pixels.height} {_orientation(image)}\n"
    sys.stdout.buffer.write(head.encode())
    sys.stdout.buffer.write(pixels.tobytes())
    sys.stdout.buffer.flush()


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # broken EXIF data are ignored
        return 0
    return orientation if isinstance(orientation, int) else 0


if __name__ == "__main__":
    main()
