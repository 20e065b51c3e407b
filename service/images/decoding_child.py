"""Decodes one image in a process of its own, whose memory and time end where the image's size says.

    python -I -S decoding_child.py FOLDER FORMAT MOST_PIXELS BASE_MEMORY BYTES_OF_A_PIXEL SECONDS < image > pixels

FOLDER is where Pillow lies. Writes a line (mode, width, height, EXIF orientation or 0), then the pixels; of an image
of more than MOST_PIXELS the line alone, with the mode `-`. Run by `decoding_apart`; imports nothing of the service,
because every import is paid for with every image.
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
    """Decode standard input; any exception, or the kernel, ends the process with a status other than 0."""
    folder, kind, *numbers = sys.argv[1:]
    most, memory, bytes_of_a_pixel, seconds = map(int, numbers)
    hard = memory + bytes_of_a_pixel * most
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, hard))
    sys.path.append(folder)
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None  # the size is looked at here
    with Image.open(sys.stdin.buffer, formats=(kind,)) as image:
        width, height = image.size
        if width * height > most:
            sys.stdout.write(f"- {width} {height} 0\n")
            return
        resource.setrlimit(resource.RLIMIT_AS, (memory + bytes_of_a_pixel * width * height, hard))
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
        found = image.getexif().get(_ORIENTATION)
    except Exception:  # broken EXIF data say nothing
        return 0
    return found if isinstance(found, int) else 0


if __name__ == "__main__":
    main()
