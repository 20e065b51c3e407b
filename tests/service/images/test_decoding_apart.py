"""Files of two hundred bytes that ask for gigabytes, and frames larger than the file says."""

from __future__ import annotations

import os
import struct
import time
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import TooManyPixels, UndecodableImage
from service.images.decoding_apart import decode_apart


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(body)) + body


def codestream(
    side: int, tile: int, code_block: int, precincts: bytes = b"", layers: int = 1, levels: int = 1
) -> bytes:
    """Return a JPEG 2000 codestream of three components without a coefficient: all of it is what decoders count."""
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, tile, tile, 0, 0, 3) + b"\x07\x01\x01" * 3
    style = (
        struct.pack(">BBHB", bool(precincts), 0, layers, 1) + bytes([levels, code_block, code_block, 0, 1]) + precincts
    )
    steps = b"\x40" + b"\x48" * (1 + 3 * levels)
    tile_part = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 114, 0, 1) + b"\xff\x93" + bytes(100)
    return b"\xff\x4f" + segment(0x51, size) + segment(0x52, style) + segment(0x5C, steps) + tile_part + b"\xff\xd9"


def children_seconds() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


@pytest.mark.parametrize(
    "data",
    [
        codestream(6000, 6000, 0, levels=5),  # code blocks of 4 x 4
        codestream(4000, 4000, 4, b"\x00\x11"),  # precincts of 1 x 1
        codestream(6000, 6000, 4, b"\x55" * 6, 65_535, levels=5),
    ],
)
def test_a_file_that_needs_gigabytes_ends_only_its_process(data: bytes) -> None:
    assert len(data) < 300
    with pytest.raises(UndecodableImage, match="far more"):
        decode_apart(data, "JPEG2000", max_pixels=50_000_000)


def lying_avif(real: int, declared: int) -> bytes:
    """Return an AVIF whose frame has a side of `real` pixels, and a header of `declared`."""
    data = bytearray(saved(Image.new("RGB", (real, real), "red"), "AVIF", speed=10))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">II", declared, declared)
    return bytes(data)


def test_oversized_frames_are_decoded_to_the_size_of_the_header() -> None:
    assert decode_apart(lying_avif(300, 10), "AVIF", max_pixels=100).size == (10, 10)


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)
    data = saved(Image.fromarray(noise), "JPEG2000")
    monkeypatch.setattr("service.images.decoding_apart._CPU_SECONDS", 1)
    before = children_seconds()
    with pytest.raises(UndecodableImage, match="far more"):
        decode_apart(data, "JPEG2000", max_pixels=10**7)
    assert children_seconds() - before < 3  # the kernel counts the seconds that are worked


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.images.decoding_apart._TIMEOUT_SECONDS", 0.001)
    with pytest.raises(UndecodableImage, match="too long"):
        decode_apart(saved(Image.new("RGB", (8, 8)), "AVIF"), "AVIF", max_pixels=100)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_pixels_are_counted_before_they_are_decoded(kind: str) -> None:
    whole = saved(Image.new("RGB", (30, 20), "red"), kind)
    assert decode_apart(whole, kind, max_pixels=600).size == (30, 20)
    with pytest.raises(TooManyPixels, match="30 x 20"):
        decode_apart(whole, kind, max_pixels=599)
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        decode_apart(codestream(60_000, 60_000, 4), "JPEG2000", max_pixels=50_000_000)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_other_threads_run_during_decoding(kind: str) -> None:
    """The interpreter's lock is free: a thread's own work goes on at its pace while another waits for its child."""
    import threading

    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind, **({"speed": 10} if kind == "AVIF" else {}))
    turns = 0
    waiter = threading.Thread(target=decode_apart, args=(data, kind), kwargs={"max_pixels": 10**6})
    waiter.start()
    while waiter.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 10
