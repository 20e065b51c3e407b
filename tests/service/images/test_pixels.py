from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from service.images.pixels import use_pixels

SCRIPT = """
import gc, io
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from models.allocator import keep_freed_memory
from service.images.image_decoding import decode_image
from service.images.pixels import use_pixels

def resident():
    gc.collect()
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024

def work(_):
    return use_pixels(lambda: decode_image(data, max_bytes=2**30, max_pixels=10**9), lambda pixels: pixels.nbytes)

keep_freed_memory()  # as the service does
file = io.BytesIO()
Image.linear_gradient("L").convert("RGB").resize((7000, 7000)).save(file, "PNG")
data = file.getvalue()
with ThreadPoolExecutor(2) as pool:
    before = resident()
    sizes = [size for _ in range(2) for size in pool.map(work, range(2))]
    print(resident() - before, sizes[0])
"""


def test_the_result_is_that_of_the_decoded_pixels() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert use_pixels(lambda: pixels, lambda same: int(same.sum())) == 66


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_large_images_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    grown, image = map(int, done.stdout.split())
    assert image == 7000 * 7000 * 3
    assert grown < image / 2
