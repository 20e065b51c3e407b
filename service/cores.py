"""Cores that this process may use: of its affinity and its container's CPU quota, the smaller number."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""CPU time and its period in microseconds, or `max` without a quota (cgroup v2, as a container sees its own)."""


def available_cores(quota: Path = QUOTA) -> int:
    """Return the number of cores, at least 1; a part of a core counts as one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(allowed) / int(period))))
    except (OSError, ValueError):
        return cores
