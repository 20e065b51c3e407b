"""Freed memory stays with the process, and goes back when asked."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from models.allocator import keep_freed_memory, return_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024

if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(SIZE, np.uint8)
before = faults()
for _ in range(10):
    np.ones(SIZE, np.uint8)
print((faults() - before) / 10)
held = resident()
return_freed_memory()
print(held - resident())
"""
SIZE = 40 * 2**20
"""Above 32 MiB, where glibc by itself stops learning that blocks come back."""


@pytest.mark.skipif(sys.platform != "linux", reason="is about glibc")
@pytest.mark.parametrize("keep", [False, True])
def test_blocks_that_come_back_are_faulted_in_once(keep):
    script = SCRIPT.replace("SIZE", str(SIZE))
    command = [sys.executable, "-c", script, "keep" if keep else "as it is"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    faults, returned = (float(line) for line in done.stdout.split())
    if keep:
        assert faults < 16
        assert returned > SIZE / 2
    else:
        assert faults > 16  # of 4 KiB, or 2 MiB each where the system uses huge pages
