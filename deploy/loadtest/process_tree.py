"""CPU time and memory of a process and all that it started, from /proc (Linux)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its id, its parent's, its start since boot in clock ticks, and CPU seconds with its ended children."""

    pid: int
    parent: int
    started: int
    cpu_seconds: float


@dataclass(slots=True)
class Usage:
    """CPU seconds of a tree and its peak memory in bytes (proportional set size), filled in by `usage`."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


def tree(root: int) -> list[Process]:
    """Return the process and its descendants; none where it has ended."""
    processes = {process.pid: process for process in all_processes()}
    found = [processes[root]] if root in processes else []
    for process in found:
        found += [child for child in processes.values() if child.parent == process.pid]
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds, user and system, of the tree so far."""
    return sum(process.cpu_seconds for process in tree(root))


def memory_bytes(root: int) -> int:
    """Return the memory of the tree. Pages that processes share are divided among them, so none counts twice."""
    return sum(_proportional_set_size(process.pid) for process in tree(root))


@contextmanager
def usage(root: int, every: float = 0.5) -> Iterator[Usage]:
    """Measure the tree while the block lasts; memory is sampled `every` so many seconds, by a thread."""
    used, ended = Usage(), threading.Event()

    def sample() -> None:
        while True:
            used.peak_bytes = max(used.peak_bytes, memory_bytes(root))
            if ended.wait(every):
                return

    sampler, before = threading.Thread(target=sample, daemon=True), cpu_seconds(root)
    sampler.start()
    try:
        yield used
    finally:
        used.cpu_seconds = cpu_seconds(root) - before
        ended.set()
        sampler.join()


def stop_tree(root: int, seconds: float = 20.0) -> None:
    """Send SIGTERM to the root, and SIGKILL to all of its tree that remain after `seconds`, the root's orphans too."""
    members = tree(root)
    with suppress(ProcessLookupError):
        os.kill(root, signal.SIGTERM)
    end = time.monotonic() + seconds
    while (left := _alive(members)) and time.monotonic() < end and root in {process.pid for process in left}:
        members += [process for process in tree(root) if process.pid not in {one.pid for one in members}]
        time.sleep(0.1)
    for process in _alive(members):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _alive(processes: list[Process]) -> list[Process]:
    """Return those that still run: another process may have the id of one that ended, but not its start."""
    now = {process.pid: process.started for process in all_processes()}
    return [process for process in processes if now.get(process.pid) == process.started]


def all_processes() -> Iterator[Process]:
    """Yield the processes of this machine that have not ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[0] != "Z":
            cpu = sum(map(int, fields[11:15])) / _TICKS
            yield Process(int(folder.name), int(fields[1]), int(fields[19]), cpu)


def _proportional_set_size(pid: int) -> int:
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((1024 * int(row.split()[1]) for row in rows if row.startswith("Pss:")), 0)
