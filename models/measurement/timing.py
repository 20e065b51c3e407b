"""Times of rival calls side by side."""

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
