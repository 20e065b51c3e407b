"""Mutated images through the decoder: nothing but its documented errors may come out, and memory stays bounded.

    python -m deploy.loadtest.fuzz_decoding --inputs 100000

Real JPEG, PNG, WebP, AVIF, JPEG 2000, GIF, TIFF and BMP files of several kinds are made with Pillow; every input is
one of them with bits flipped, numbers made absurd, parts cut out, repeated, or taken from another. The decoder runs as
in the service, with its default limits; AVIF and JPEG 2000 take a process each. Prints one JSON object; exits with 1
after any other exception, each with its seed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
import traceback
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from service.errors import ServiceError
from service.images.image_decoding import decode_image
from service.settings import Settings
from service.telemetry.request_log import configure_logging

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


def originals(dice: random.Random) -> list[bytes]:
    """Return files of every kind, small, so that most bytes matter."""
    return [encoded(dice, size, *kind) for kind in KINDS for size in ((17, 11), (64, 48))]


def encoded(dice: random.Random, size: tuple[int, int], kind: str, mode: str, options: dict[str, Any]) -> bytes:
    """Return a noisy ramp of this size as a file."""
    width, height = size
    noise = np.frombuffer(dice.randbytes(3 * width * height), np.uint8).reshape(height, width, 3)
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


def mutated(dice: random.Random, files: list[bytes]) -> bytes:
    """Return one of the files, changed in one to eight places; the head, which holds the structure, most often."""
    data = bytearray(dice.choice(files))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        place = dice.randrange(max(1, min(len(data), dice.choice((64, 512, len(data) or 1)))))
        change = dice.randrange(7)
        if change == 0 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif change == 1:
            data[place : place + 1] = dice.randbytes(1)
        elif change == 2:
            width = dice.choice((1, 2, 4))
            number = dice.choice(ABSURD) & (256**width - 1)
            data[place : place + width] = number.to_bytes(width, dice.choice(("big", "little")))
        elif change == 3:
            del data[place : place + dice.randrange(1, 32)]
        elif change == 4:
            part = data[place : place + dice.randrange(1, 128)]
            data[place:place] = part * dice.choice((1, 2, 50))
        elif change == 5:
            other = dice.choice(files)
            start = dice.randrange(len(other))
            data[place : place + 16] = other[start : start + dice.randrange(1, 64)]
        else:
            del data[dice.randrange(len(data) + 1) :]
    return bytes(data)


def resident_bytes() -> int:
    """Memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(inputs: int, seed: int) -> dict[str, Any]:
    """Decode so many inputs; return the figures: outcomes, faults, seconds, bytes of memory."""
    limits = Settings()
    files = originals(random.Random(seed))
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    slowest = 0.0
    for data in files[::2]:
        decode_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)  # they are good, and all is loaded
    before, started = resident_bytes(), time.monotonic()
    for number in range(inputs):
        data = mutated(random.Random(f"{seed}/{number}"), files)
        began = time.monotonic()
        try:
            pixels = decode_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
            good = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
            outcomes["decoded" if good else "misshapen"] += 1
            if not good:
                faults.append(f"input {number}: {pixels.dtype} {pixels.shape}")
        except ServiceError as error:
            outcomes[error.type] += 1
            if error.status >= 500:
                faults.append(f"input {number}: {error.type}")
        except Exception:
            outcomes["fault"] += 1
            faults.append(f"input {number}: {traceback.format_exc()}")
        slowest = max(slowest, time.monotonic() - began)
    return {
        "inputs": inputs,
        "seed": seed,
        "outcomes": dict(sorted(outcomes.items())),
        "faults": faults[:20],
        "seconds": round(time.monotonic() - started, 1),
        "slowest_input_s": round(slowest, 3),
        "rss_before_mb": round(before / 2**20, 1),
        "rss_after_mb": round(resident_bytes() / 2**20, 1),
        "rss_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Fuzz the decoding of images.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20_260)
    options = parser.parse_args()
    configure_logging("error", "text")
    warnings.simplefilter("ignore")  # Pillow warns of broken files
    figures = run(options.inputs, options.seed)
    print(json.dumps(figures, indent=1))
    raise SystemExit(bool(figures["faults"]))


if __name__ == "__main__":
    main()
