"""What tracing costs: services with and without it side by side, and a collector that takes all spans.

    python -m deploy.loadtest.tracing_cost [--callers 2] [--seconds 4] [--rounds 5] [--output FILE]

Both services run at once and are called in turns, so that what else the machine does meets both alike. Ratios are the
medians of the rounds' ratios. CPU time is that of a service's own process, per image. Every request is sampled.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.loadtest.turns import Ratio, in_turns, mix_of, options
from deploy.local_server import LocalServer
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


def measure(mix: Mix, callers: int, seconds: float, rounds: int) -> tuple[list[tuple[Round, Round]], int]:
    """Call both services in turns; return the rounds (without, with tracing), and the bytes of all spans."""
    with collector() as (url, exports):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "always_on"}
        with LocalServer(LOG_LEVEL="error") as plain, LocalServer(LOG_LEVEL="error", variables=variables) as traced:
            for server in (plain, traced):
                server.wait_until_ready()
                _turn(mix, callers, min(1.0, seconds), server.url)
            each = in_turns((plain.url, traced.url), partial(_turn, mix, callers, seconds), rounds)
            traced.stop()  # it sends what it has
    return each, sum(exports)


def _turn(mix: Mix, callers: int, seconds: float, url: str) -> Round:
    before = _cpu_seconds(url)
    answers, took = keep_calling(Target.of(url), mix, callers, seconds)
    spent = _cpu_seconds(url) - before
    return Round(len(answers) / took, 1e3 * spent / len(answers))


def _cpu_seconds(url: str) -> float:
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    return float(next(line for line in text.splitlines() if line.startswith(_CPU_SECONDS)).removeprefix(_CPU_SECONDS))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = options(__doc__, query="attention=exact", seconds=4.0, rounds=5)
    parser.add_argument("--callers", type=int, default=2, help="callers at a time")
    arguments = parser.parse_args(argv)
    environment: dict[str, Any] = machine()
    rounds, sent = measure(mix_of(arguments), arguments.callers, arguments.seconds, arguments.rounds)
    off, on = zip(*rounds, strict=True)
    rates = [(without.images_per_s, with_.images_per_s) for without, with_ in rounds]
    times = [(without.cpu_ms, with_.cpu_ms) for without, with_ in rounds]
    results = {
        "off": [asdict(each) for each in off],
        "on": [asdict(each) for each in on],
        "images_per_s_ratio": Ratio.of(rates).ratio,
        "cpu_ms_ratio": Ratio.of(times).ratio,
        "span_bytes": sent,
    }
    write_results(arguments.output, {"environment": environment, **results})
    table = Table("tracing", "images/s", "CPU ms per image")
    for name, rate, time in zip(("off", "on"), zip(*rates, strict=True), zip(*times, strict=True), strict=True):
        table.add_row(name, f"{statistics.median(rate):.2f}", f"{statistics.median(time):.1f}")
    table.add_row("on / off", str(results["images_per_s_ratio"]), str(results["cpu_ms_ratio"]))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
