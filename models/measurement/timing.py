"""Timing of calls in alternation, and the clock of a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one call: the median of the repeats and the quartiles on either side."""

    median: float
    low: float
    high: float


def interleaved(
    calls: Mapping[str, Callable[[], object]], device: torch.device, repeats: int, pause: float = 0.0
) -> dict[str, Timing]:
    """Time every call once per round, for `repeats` rounds (at least 2), so that a slow spell hits all alike.

    A round before the first warms up. On a GPU a measurement is ten calls between two events; on one CPU thread,
    the processor time of one call; on several threads, elapsed time. `pause` is in seconds, before each call.
    """
    measure = _gpu_milliseconds if device.type == "cuda" else _cpu_milliseconds

    def measure_rested(call: Callable[[], object]) -> float:
        time.sleep(pause)
        return measure(call)

    rounds = [{name: measure_rested(call) for name, call in calls.items()} for _ in range(repeats + 1)]
    return {name: _summary([times[name] for times in rounds[1:]]) for name in calls}


def clock(device: torch.device) -> Callable[[], float]:
    """Return a clock in seconds, for differences: see `clock_name`."""
    if device.type != "cuda":
        return time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def synchronized() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronized


def clock_name(device: torch.device) -> str:
    """Say which time `clock` measures: processor time on one CPU thread, elapsed time otherwise."""
    if device.type == "cuda":
        return "elapsed, after the GPU has finished"
    if torch.get_num_threads() == 1:
        return "processor time, which other programs on the machine stretch little"
    return "elapsed; other programs on the machine stretch it"


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
