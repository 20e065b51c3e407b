"""Decoding in a separate process, for formats whose files can make decoders use far more than their sizes suggest.

The frames of an AVIF may be larger than its header says. A JPEG 2000 of 200 bytes can take gigabytes of memory, and
Pillow blocks other threads while it decodes one. A process can be bounded, and its end harms no other request.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import PIL
from PIL import ExifTags, Image

from service.errors import TooManyPixels, UndecodableImage

_CHILD: Final = Path(__file__).with_name("decoding_child.py")
_OWN_MEMORY: Final = 256 * 2**20
"""Bytes of address space for the interpreter with Pillow and its libraries, and for an image's header."""
_BYTES_PER_PIXEL: Final = 40
"""OpenJPEG's need for RGBA: four bytes per sample while it works, the tile, Pillow's pixels, and their copy."""
_CPU_SECONDS: Final = 60
_TIMEOUT_SECONDS: Final = 300
"""For a process that waits for a core and uses no CPU time."""


def decode_apart(data: bytes, kind: str, *, max_pixels: int) -> Image.Image:
    """Decode a file of a format that Pillow calls `kind` (`AVIF`, `JPEG2000`). Its EXIF orientation is kept.

    Raises TooManyPixels (before decoding), and UndecodableImage for broken files and files that take more memory or
    time than their size allows.
    """
    memory = _OWN_MEMORY + 3 * len(data)
    numbers = (max_pixels, memory, _BYTES_PER_PIXEL, _CPU_SECONDS)
    folder = os.fspath(Path(PIL.__file__).parents[1])
    command = [sys.executable, "-I", "-S", os.fspath(_CHILD), folder, kind, *map(str, numbers)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UndecodableImage("The image takes too long to decode.") from None
    if done.returncode:
        raise UndecodableImage("The image is truncated or corrupt, or takes far more to decode than its size suggests.")
    return _decoded(done.stdout, max_pixels)


def _decoded(output: bytes, max_pixels: int) -> Image.Image:
    end = output.index(b"\n")
    mode, *numbers = output[:end].decode().split()
    width, height, orientation = map(int, numbers)
    if mode == "-":
        raise TooManyPixels(
            f"The image is {width} x {height} pixels; {max_pixels} pixels are allowed.", limit=max_pixels
        )
    if not width or not height:
        raise UndecodableImage("The image has no pixels.")
    image = Image.frombytes(mode, (width, height), memoryview(output)[end + 1 :])
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return image
