"""What serving costs: images a second through HTTP against the same stages in a loop, side by side.

    python -m deploy.loadtest.serving [--threads 1 2] [--callers 1 4] [--seconds 6] [--rounds 3] [--output FILE]

Each round runs the loop (decode, preprocess, predict, select, one image after another) and then, for every number of
callers, a closed loop against a service of its own with as many CPU threads. The figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix, closed_loop_for
from deploy.loadtest.program import machine
from deploy.local_server import SAMPLE_PAGE, LocalServer
from models.measurement.results import write_results

if TYPE_CHECKING:
    from models.detector import Detector


@dataclass(frozen=True, slots=True)
class Row:
    """Images a second; `callers` 0 stands for the loop in process. `share` is of the loop, `ms` the median latency."""

    threads: int
    callers: int
    images_per_s: float
    share: float
    ms: float


def in_process(detector: Detector, mix: Mix, seconds: float) -> tuple[float, float]:
    """Run the stages of the service one after another; return images a second and the median milliseconds of one."""
    from service.detection_options import DetectionDefaults, DetectQuery, resolve_options
    from service.images.image_decoding import decode_image
    from service.pipeline import detect
    from service.settings import load_settings

    query = DetectQuery.model_validate(dict(part.split("=") for part in mix.queries[0].split("&") if part))
    chosen = resolve_options(query, DetectionDefaults.of(load_settings(), detector), 0.0)
    times, end = [], time.perf_counter() + seconds
    for data in itertools.cycle(mix.images):
        began = time.perf_counter()
        if began > end:
            break
        detect(detector, decode_image(data, max_bytes=2**31, max_pixels=2**31), chosen)
        times.append(time.perf_counter() - began)
    return len(times) / sum(times), 1e3 * statistics.median(times)


def through_http(target: Target, mix: Mix, callers: int, seconds: float) -> tuple[float, float]:
    """Let callers send one image after another; return answers a second and the median milliseconds of one."""
    outcomes = asyncio.run(closed_loop_for(seconds, target, mix, callers=callers))
    accepted = [outcome.latency for outcome in outcomes if outcome.accepted]
    return len(accepted) / seconds, 1e3 * statistics.median(accepted)


def measure(
    mix: Mix, threads: int, callers: Sequence[int], seconds: float, rounds: int, device: str = "cpu"
) -> list[Row]:
    """Measure one number of CPU threads."""
    import torch

    from service.__main__ import load_configured_detector
    from service.settings import load_settings

    torch.set_num_threads(threads)
    detector = load_configured_detector(load_settings(device=device))
    measured: dict[int, list[tuple[float, float]]] = {count: [] for count in (0, *callers)}
    with LocalServer(THREADS=str(threads), DEVICE=device, LOG_LEVEL="error") as server:
        server.wait_until_ready()
        target = Target.of(server.url)
        in_process(detector, mix, 1)
        through_http(target, mix, max(callers), 1)
        for _ in range(rounds):
            measured[0].append(in_process(detector, mix, seconds))
            for count in callers:
                measured[count].append(through_http(target, mix, count, seconds))
    loop = statistics.median(rate for rate, _ in measured[0])
    rows = []
    for count, pairs in measured.items():
        rate, ms = (statistics.median(values) for values in zip(*pairs, strict=True))
        rows.append(Row(threads, count, round(rate, 2), round(rate / loop, 3), round(ms, 1)))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of the sample page")
    parser.add_argument("--query", default="attention=exact", help="the query of every call")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads of the model")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4], help="callers at a time")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    environment: dict[str, Any] = machine()
    mix = Mix(tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]), (arguments.query,))
    rows = [
        row
        for threads in arguments.threads
        for row in measure(mix, threads, arguments.callers, arguments.seconds, arguments.rounds, arguments.device)
    ]
    write_results(arguments.output, {"environment": environment, "rows": [asdict(row) for row in rows]})
    table = Table("CPU threads", "callers", "images/s", "of the loop", "median ms")
    for row in rows:
        callers = "loop in process" if row.callers == 0 else str(row.callers)
        table.add_row(str(row.threads), callers, f"{row.images_per_s:.2f}", f"{row.share:.2f}", f"{row.ms:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
