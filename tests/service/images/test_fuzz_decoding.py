"""Mutated images through the decoder: only its documented errors may come out, and memory stays bounded.

Real JPEG, PNG, WebP, AVIF, JPEG 2000, GIF, TIFF and BMP files are made with Pillow; every input is one of them with
bits flipped, numbers made absurd, parts cut out, repeated, or taken from another. The decoder runs as in the service,
with its default limits. ACT_DETR_FUZZ_IMAGES asks for more inputs than the tests have.
"""

from __future__ import annotations

import os
import random
import resource
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import ServiceError
from service.images.image_decoding import decode_image
from service.settings import Settings

INPUTS = int(os.environ.get("ACT_DETR_FUZZ_IMAGES", "300"))
SEED = 20_260
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "CMYK", {"restart_marker_rows": 1}),
    ("JPEG", "L", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {"transparency": 3}),
    ("PNG", "I;16", {}),
    ("PNG", "1", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {"save_all": True}),
    ("GIF", "P", {}),
    ("GIF", "P", {"save_all": True, "interlace": 1}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "CMYK", {"compression": "packbits"}),
    ("TIFF", "I;16", {"tiffinfo": {281: 4095}}),
    ("PNG", "I;16", {"transparency": 257}),
    ("AVIF", "RGB", {"speed": 10}),
    ("AVIF", "RGBA", {"speed": 10}),
    ("AVIF", "RGB", {"speed": 10, "save_all": True}),
    ("JPEG2000", "RGB", {}),
    ("JPEG2000", "RGBA", {"no_jp2": True}),
    ("JPEG2000", "I;16", {"quality_mode": "rates", "quality_layers": [20, 5], "tile_size": (16, 16)}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("BMP", "1", {}),
)
ABSURD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def originals(rng: random.Random) -> list[bytes]:
    """Return files of every kind, small, so that most bytes matter."""
    return [encoded(rng, size, *kind) for kind in KINDS for size in ((17, 11), (64, 48))]


def encoded(rng: random.Random, size: tuple[int, int], kind: str, mode: str, options: dict[str, Any]) -> bytes:
    """Return a noisy ramp of this size as a file."""
    width, height = size
    noise = np.frombuffer(rng.randbytes(3 * width * height), np.uint8).reshape(height, width, 3)
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None]
    pixels = noise // 8 + ramp // 2
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert(mode)
    extra = {"append_images": [image.transpose(Image.Transpose.ROTATE_180)]} if "save_all" in options else {}
    buffer = BytesIO()
    image.save(buffer, kind, **options, **extra)
    return buffer.getvalue()


def mutated(rng: random.Random, files: list[bytes]) -> bytes:
    """Return one of the files, changed in one to eight positions; the head, which holds the structure, most often."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        position = rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data) or 1)))))
        change = rng.randrange(7)
        if change == 0 and data:
            data[position] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[position : position + 1] = rng.randbytes(1)
        elif change == 2:
            width = rng.choice((1, 2, 4))
            number = rng.choice(ABSURD) & (256**width - 1)
            data[position : position + width] = number.to_bytes(width, rng.choice(("big", "little")))
        elif change == 3:
            del data[position : position + rng.randrange(1, 32)]
        elif change == 4:
            part = data[position : position + rng.randrange(1, 128)]
            data[position:position] = part * rng.choice((1, 2, 50))
        elif change == 5:
            other = rng.choice(files)
            start = rng.randrange(len(other))
            data[position : position + 16] = other[start : start + rng.randrange(1, 64)]
        else:
            del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of broken files
def test_decoder_raises_only_documented_errors_for_mutated_images() -> None:
    limits = Settings()
    files = originals(random.Random(SEED))
    outcomes: Counter[str] = Counter()
    for file in files:
        decode_image(file, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in range(INPUTS):
        data = mutated(random.Random(f"{SEED}/{index}"), files)
        try:
            pixels = decode_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
        except ServiceError as error:
            outcomes[error.type] += 1
            if error.status >= 500:
                raise AssertionError(f"input {index}") from error
        except Exception as error:
            raise AssertionError(f"input {index}") from error
        else:
            assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3), f"input {index}"
            outcomes["decoded"] += 1
    print(dict(outcomes))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown <= 16 * limits.max_pixels, "more than docs/operations.md allows for decoding"
    assert {"decoded", "undecodable-image"} <= set(outcomes)
