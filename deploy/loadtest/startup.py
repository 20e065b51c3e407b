"""How long a start takes: seconds from the start of the process until the service is ready.

    python -m deploy.loadtest.startup [--starts 5] [--output FILE]

A service is started several times, with the settings of the environment, and asked for `/readyz` every 50 ms. The first
start may read files that are not in memory yet and measures the times that `auto` chooses by; later ones find both,
as a restart does.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.loadtest.program import machine
from deploy.local_server import LocalServer
from models.measurement.results import write_results


def measure(starts: int) -> list[float]:
    """Start and stop a service several times, with a cache of its own; return the seconds until ready of each start."""
    with tempfile.TemporaryDirectory(prefix="act-detr-startup-") as cache:
        return [_start(cache) for _ in range(starts)]


def _start(cache: str) -> float:
    with LocalServer(CACHE_DIR=cache, LOG_LEVEL="error") as server:
        ready = server.wait_until_ready()
        server.stop()
    return round(ready, 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="the first is reported separately; at least 2")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    if arguments.starts < 2:
        parser.error("--starts must be at least 2")
    environment: dict[str, Any] = machine()
    first, *later = seconds = measure(arguments.starts)
    median = round(statistics.median(later), 2)
    results = {"environment": environment, "ready_s": seconds, "first_s": first, "later_median_s": median}
    write_results(arguments.output, results)
    print(f"ready after {first:.2f} s, later starts after {median:.2f} s (median of {len(later)})")


if __name__ == "__main__":
    main()
