"""Times of rival calls side by side, and what they were measured on."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from models.measurement.environment import commit


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one call: the median of the repeats and the quartiles on either side."""

    median: float
    low: float
    high: float


def interleaved(calls: Mapping[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, Timing]:
    """Time every call once a round, for `repeats` rounds (at least 2), so that a slow spell hits all alike.

    A round before the first warms up. On a GPU a measurement is ten calls between two events; on one CPU thread,
    the processor time of one call, which other programs on the machine do not stretch; on several, elapsed time.
    """
    measure = _gpu_milliseconds if device.type == "cuda" else _cpu_milliseconds
    rounds = [{name: measure(call) for name, call in calls.items()} for _ in range(repeats + 1)]
    return {name: _summary([one[name] for one in rounds[1:]]) for name in calls}


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds, for differences: of the processor on one CPU thread, elapsed on several, of a GPU that has caught up."""
    if device.type != "cuda":
        return time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def caught_up() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return caught_up


def _cpu_milliseconds(call: Callable[[], object]) -> float:
    now = clock(torch.device("cpu"))
    start = now()
    call()
    return (now() - start) * 1e3


def _gpu_milliseconds(call: Callable[[], object], calls: int = 10) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / calls


def _summary(milliseconds: list[float]) -> Timing:
    low, median, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
    return Timing(median, low, high)


def circumstances(device: torch.device) -> dict[str, str | int]:
    """Card, versions, commit, command, time in UTC, load: what a number means nothing without."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "commit": commit(Path(__file__).parent),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "load_average": _load(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cuda": torch.version.cuda or "",
    }


def _program() -> list[str]:
    """`python -m module`, or the name of an installed script."""
    spec = sys.modules["__main__"].__spec__
    return ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _load() -> str:
    """Processes that wanted a CPU over the last 1, 5 and 15 minutes, these threads among them; empty where unknown."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
