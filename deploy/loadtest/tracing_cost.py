"""What tracing costs: services with and without it side by side, and a collector that takes all spans.

    python -m deploy.loadtest.tracing_cost [--callers 2] [--seconds 4] [--rounds 5] [--output FILE]

Both services run at once and are called in turns, so that what else the machine does meets both alike. Ratios are the
medians of the rounds' ratios. CPU time is that of a service's own process, per image. Every request is sampled.
"""

from __future__ import annotations

import argparse
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.local_server import SAMPLE_PAGE, LocalServer
from models.measurement.results import write_results

_CPU_SECONDS: Final = "process_cpu_seconds_total "


@dataclass(frozen=True, slots=True)
class Round:
    """Images a second and milliseconds of CPU time per image, of one service in one round."""

    images_per_s: float
    cpu_ms: float


@contextmanager
def collector() -> Iterator[tuple[str, list[int]]]:
    """Run a collector that drops what it takes; gives its address and the bytes of each export."""
    exports: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            exports.append(len(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", exports
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def measure(mix: Mix, callers: int, seconds: float, rounds: int) -> tuple[list[Round], list[Round], int]:
    """Call both services in turns; return the rounds without and with tracing, and the bytes of all spans."""
    with collector() as (url, exports):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "always_on"}
        off: list[Round] = []
        on: list[Round] = []
        with LocalServer(LOG_LEVEL="error") as plain, LocalServer(LOG_LEVEL="error", variables=variables) as traced:
            for server in (plain, traced):
                server.wait_until_ready()
                _round(server, mix, callers, min(1.0, seconds))
            for _ in range(rounds):
                off.append(_round(plain, mix, callers, seconds))
                on.append(_round(traced, mix, callers, seconds))
            traced.stop()  # it sends what it has
    return off, on, sum(exports)


def _round(server: LocalServer, mix: Mix, callers: int, seconds: float) -> Round:
    before = _cpu_seconds(server.url)
    answers, took = keep_calling(Target.of(server.url), mix, callers, seconds)
    spent = _cpu_seconds(server.url) - before
    return Round(len(answers) / took, 1e3 * spent / len(answers))


def _cpu_seconds(url: str) -> float:
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    return float(next(line for line in text.splitlines() if line.startswith(_CPU_SECONDS)).removeprefix(_CPU_SECONDS))


def ratio(off: Sequence[float], on: Sequence[float]) -> float:
    """Return the median of the rounds' ratios, on over off."""
    return statistics.median(with_it / without for without, with_it in zip(off, on, strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of the sample page")
    parser.add_argument("--query", default="attention=exact", help="the query of every call")
    parser.add_argument("--callers", type=int, default=2, help="callers at a time")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one service's turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    environment: dict[str, Any] = machine()
    mix = Mix(tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]), (arguments.query,))
    off, on, sent = measure(mix, arguments.callers, arguments.seconds, arguments.rounds)
    rates = [each.images_per_s for each in off], [each.images_per_s for each in on]
    times = [each.cpu_ms for each in off], [each.cpu_ms for each in on]
    results = {
        "off": [asdict(each) for each in off],
        "on": [asdict(each) for each in on],
        "images_per_s_ratio": round(ratio(*rates), 3),
        "cpu_ms_ratio": round(ratio(*times), 3),
        "span_bytes": sent,
    }
    write_results(arguments.output, {"environment": environment, **results})
    table = Table("tracing", "images/s", "CPU ms per image")
    for name, rate, time in zip(("off", "on"), rates, times, strict=True):
        table.add_row(name, f"{statistics.median(rate):.2f}", f"{statistics.median(time):.1f}")
    table.add_row("on / off", str(results["images_per_s_ratio"]), str(results["cpu_ms_ratio"]))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
