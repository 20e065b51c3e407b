"""What serving costs: images a second through HTTP against the same stages in a loop, side by side.

    python -m deploy.loadtest.serving [--threads 1 2] [--callers 1 4] [--seconds 6] [--rounds 3] [--output FILE]

Each round runs the stages (decode, preprocess, predict, select) in process: in one loop, one image after another with
all CPU threads, and overlapped, in as many loops as the service has streams, each with its part of the threads. Then,
for every number of callers, it runs a closed loop against a service of its own with as many CPU threads. The figures
are medians of the rounds; shares are of the better of the two in process. A rate counts all images that were begun in
the time of a measurement, until the last one is done. An answer says how long its stages took: what its caller waited
beyond them is what HTTP and the way between the threads cost.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.local_server import SAMPLE_PAGE, LocalServer
from models.allocator import keep_freed_memory
from models.measurement.results import write_results

if TYPE_CHECKING:
    from models.detector import Detector


LOOP: Final = "loop"
OVERLAPPED: Final = "overlapped"


@dataclass(frozen=True, slots=True)
class Row:
    """Images a second of `LOOP`, `OVERLAPPED` or `http`, which has `callers`; the others have None.

    `share` is of the better of the first two, `ms` the median latency of one image; `beyond_ms`, through HTTP, the
    median of what a caller waited beyond the sum of the answer's stages.
    """

    threads: int
    streams: int
    how: str
    callers: int | None
    images_per_s: float
    share: float
    ms: float
    beyond_ms: float | None = None


def in_process(detector: Detector, mix: Mix, seconds: float, streams: int, threads: int) -> tuple[float, float]:
    """Run the stages of the service in `streams` loops, each with its part of the CPU threads.

    Returns images a second and the median milliseconds of one.
    """
    with ThreadPoolExecutor(streams) as pool:
        started = time.perf_counter()
        loops = [
            pool.submit(_loop, detector, mix, started + seconds, threads // streams, offset)
            for offset in range(streams)
        ]
        times = [each for loop in loops for each in loop.result()]
        took = time.perf_counter() - started
    return len(times) / took, 1e3 * statistics.median(times)


def _loop(detector: Detector, mix: Mix, end: float, threads: int, offset: int) -> list[float]:
    """Run images one after another, from the one at `offset` on; return the seconds of each."""
    from service.cpu_threads import compute_with
    from service.detection_options import DetectionDefaults, DetectQuery, resolve_options
    from service.images.image_decoding import decode_image
    from service.pipeline import detect
    from service.settings import load_settings

    compute_with(threads)
    query = DetectQuery.model_validate(dict(part.split("=") for part in mix.queries[0].split("&") if part))
    chosen = resolve_options(query, DetectionDefaults.of(load_settings(), detector), 0.0)
    times: list[float] = []
    for data in itertools.islice(itertools.cycle(mix.images), offset, None):
        began = time.perf_counter()
        if times and began > end:
            return times
        detect(detector, decode_image(data, max_bytes=2**31, max_pixels=2**31), chosen)
        times.append(time.perf_counter() - began)
    return times


def through_http(target: Target, mix: Mix, callers: int, seconds: float) -> tuple[float, float, float]:
    """Let callers send one image after another.

    Returns answers a second, the median milliseconds of one, and that of what a caller waited beyond its stages.
    """
    answers, took = keep_calling(target, mix, callers, seconds)
    waited = 1e3 * statistics.median(answer.seconds for answer in answers)
    beyond = 1e3 * statistics.median(answer.seconds - answer.stages for answer in answers)
    return len(answers) / took, waited, beyond


def measure(
    mix: Mix, threads: int, callers: Sequence[int], seconds: float, rounds: int, device: str = "cpu"
) -> list[Row]:
    """Measure one number of CPU threads."""
    from service.__main__ import load_configured_detector
    from service.cpu_threads import compute_with
    from service.settings import load_settings

    settings = load_settings(device=device)
    compute_with(1)  # this thread computes nothing beside the loops
    detector = load_configured_detector(settings)
    streams = settings.streams_on(detector.device, threads)
    loops = {LOOP: 1} if streams == 1 else {LOOP: 1, OVERLAPPED: streams}
    measured: dict[tuple[str, int | None], list[tuple[float, ...]]] = {(how, None): [] for how in loops}
    measured |= {("http", count): [] for count in callers}
    with LocalServer(THREADS=str(threads), DEVICE=device, LOG_LEVEL="error") as server:
        server.wait_until_ready()
        target = Target.of(server.url)
        in_process(detector, mix, 1, 1, threads)
        through_http(target, mix, max(callers), 1)
        for _ in range(rounds):
            for how, count in loops.items():
                measured[how, None].append(in_process(detector, mix, seconds, count, threads))
            for count in callers:
                measured["http", count].append(through_http(target, mix, count, seconds))
    medians = {key: [statistics.median(values) for values in zip(*each, strict=True)] for key, each in measured.items()}
    best = max(medians[how, None][0] for how in loops)
    return [
        Row(threads, streams, how, count, round(rate, 2), round(rate / best, 3), *(round(each, 1) for each in times))
        for (how, count), (rate, *times) in medians.items()
    ]


def named(how: str, callers: int | None, streams: int) -> str:
    """Describe a row in words."""
    if callers is not None:
        return f"HTTP, {callers} {'caller' if callers == 1 else 'callers'}"
    return "in process, one image after another" if how == LOOP else f"in process, {streams} at a time"


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
    keep_freed_memory()
    environment: dict[str, Any] = machine()
    mix = Mix(tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]), (arguments.query,))
    rows = [
        row
        for threads in arguments.threads
        for row in measure(mix, threads, arguments.callers, arguments.seconds, arguments.rounds, arguments.device)
    ]
    write_results(arguments.output, {"environment": environment, "rows": [asdict(row) for row in rows]})
    table = Table("CPU threads", "", "images/s", "share", "median ms", "beyond its stages")
    for row in rows:
        table.add_row(
            str(row.threads),
            named(row.how, row.callers, row.streams),
            f"{row.images_per_s:.2f}",
            f"{row.share:.2f}",
            f"{row.ms:.0f}",
            "" if row.beyond_ms is None else f"{row.beyond_ms:.1f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
