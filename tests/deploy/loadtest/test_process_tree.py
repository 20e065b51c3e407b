"""CPU time and memory of real processes, and their end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.loadtest.process_tree import cpu_seconds, memory_bytes, stop_tree, tree, usage
from deploy.local_server import wait_until

CHILD = """
import sys, time
data = bytearray(60_000_000)
end = time.process_time() + 0.5
while time.process_time() < end: pass
print("done", flush=True)
time.sleep(600)
"""
PARENT = """
import signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
time.sleep(600)
"""


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child takes half a second of CPU time and 60 MB."""
    options = [getattr(request, "param", "")]
    command = [sys.executable, "-c", PARENT, CHILD, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process
        stop_tree(process.pid, 0)


def test_a_tree_has_the_cpu_time_and_the_memory_of_children(parent: subprocess.Popen[bytes]) -> None:
    assert [process.parent for process in tree(parent.pid)][1:] == [parent.pid]
    assert cpu_seconds(parent.pid) >= 0.5
    assert memory_bytes(parent.pid) >= 60_000_000


def test_usage_is_of_the_block(parent: subprocess.Popen[bytes]) -> None:
    with usage(parent.pid, every=0.01) as used:
        pass
    assert used.peak_bytes >= 60_000_000
    assert used.cpu_seconds < 0.5  # what the child took came before


@pytest.mark.parametrize("parent", ["", "stubborn"], indirect=True)
def test_a_stopped_tree_leaves_no_child_behind(parent: subprocess.Popen[bytes]) -> None:
    members = [process.pid for process in tree(parent.pid)]
    assert len(members) == 2
    stop_tree(parent.pid, 0.3)
    assert wait_until(lambda: not any(_runs(pid) for pid in members), 30)


def test_an_ended_process_has_no_tree() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert tree(process.pid) == []
    assert cpu_seconds(process.pid) == 0
    stop_tree(process.pid, 0)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
