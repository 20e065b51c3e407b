"""Decoding in a process of its own, for formats whose decoders can be made to do far more than their sizes say.

An AVIF's frames may be larger than the AVIF says; a JPEG 2000 of 200 bytes can take gigabytes for its bookkeeping, and
Pillow lets no other thread run while it decodes one. A process can be bounded, and its end harms nobody.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import PIL
from PIL import Image

from service.errors import TooManyPixels, UndecodableImage

_CHILD: Final = Path(__file__).with_name("decoding_child.py")
_OWN_MEMORY: Final = 256 * 2**20
"""Bytes of address space for the interpreter with Pillow and its libraries, and for an image's head."""
_BYTES_OF_A_PIXEL: Final = 40
"""What OpenJPEG takes for RGBA: four bytes a sample while it works, the tile, Pillow's pixels, and their copy."""
_CPU_SECONDS: Final = 60
_SECONDS: Final = 300
"""Backstop: a process that waits for a core spends no time of its own."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as Pillow decodes it, and the orientation (1 to 8) that its EXIF data name; 0 where they name none."""

    image: Image.Image
    orientation: int


def decode_apart(data: bytes, kind: str, *, max_pixels: int) -> Decoded:
    """Decode a file of a format that Pillow calls `kind` (`AVIF`, `JPEG2000`).

    Raises TooManyPixels (before decoding), UndecodableImage for broken files and for those that take more memory or
    time than their size allows.
    """
    memory = _OWN_MEMORY + 3 * len(data)
    numbers = (max_pixels, memory, _BYTES_OF_A_PIXEL, _CPU_SECONDS)
    folder = os.fspath(Path(PIL.__file__).parents[1])
    command = [sys.executable, "-I", "-S", os.fspath(_CHILD), folder, kind, *map(str, numbers)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UndecodableImage("The image takes too long to decode.") from None
    if done.returncode:
        raise UndecodableImage("The image is truncated or corrupt, or takes far more to decode than its size says.")
    return _decoded(done.stdout, max_pixels)


def _decoded(output: bytes, max_pixels: int) -> Decoded:
    place = output.index(b"\n")
    mode, *numbers = output[:place].decode().split()
    width, height, orientation = map(int, numbers)
    if mode == "-":
        raise TooManyPixels(
            f"The image is {width} x {height} pixels; {max_pixels} pixels are allowed.", limit=max_pixels
        )
    if not width or not height:
        raise UndecodableImage("The image has no pixels.")
    return Decoded(Image.frombytes(mode, (width, height), memoryview(output)[place + 1 :]), orientation)
