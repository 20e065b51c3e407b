"""What comparisons with exact attention cost: a service that makes them of every image, and one of none, in turns.

    python -m deploy.loadtest.shadows [--callers 4] [--seconds 5] [--rounds 6] [--output FILE]

Both services run all the time, with the settings of the environment; only one is called at a time. In each round they
take turns, the first one first in every second round. Saturated: callers in a closed loop, images a second. Calm: one
call after another, with a pause between them, and the milliseconds of a call. After each turn it waits until the
service has no comparison left to make, so that those do not run beside the other service's turn. The ratio is the
median of the rounds' ratios, with comparisons over without; its least and greatest say how much the machine varied.
That of the services' own CPU time for a call holds on a busy machine too. Comparisons are counted within the turns, and
after them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.loadtest.turns import Ratio, in_turns, mix_of, options
from deploy.local_server import LocalServer
from models.measurement.results import write_results

RATES: Final = (0.0, 1.0)
QUIET_SECONDS: Final = 1.0
"""A service that compares nothing for as long has nothing left to compare, or is busy with one image."""
_COMPARED: Final = "act_detr_shadow_images_total"
_DROPPED: Final = "act_detr_shadow_dropped_total"
_CPU: Final = "process_cpu_seconds_total"


@dataclass(frozen=True, slots=True)
class Row:
    """A load, `unit` of it without and with comparisons, as medians, and the latter over the former.

    `cpu_ms_...` is the CPU time that a service took for a call, within its turns, and `cpu_ratio` the median of the
    rounds' ratios. Of the service with comparisons, in all rounds: the `calls` of its turns, the images that were
    `compared` and those that `gave_way` meanwhile, and those that were compared once it was left alone.
    """

    load: str
    unit: str
    without: float
    with_: float
    ratio: float
    least: float
    greatest: float
    cpu_ms_without: float
    cpu_ms_with: float
    cpu_ratio: float
    calls: int
    compared: int
    gave_way: int
    compared_after: int


@dataclass(frozen=True, slots=True)
class _Counts:
    """The comparisons that a service has counted so far, and its CPU seconds."""

    compared: int = 0
    dropped: int = 0
    gave_way: int = 0
    cpu: float = 0.0

    @classmethod
    def of(cls, url: str) -> _Counts:
        """Ask a service."""
        text = httpx.get(f"{url}/metrics", timeout=30, trust_env=False).raise_for_status().text
        rows = [row for family in text_string_to_metric_families(text) for row in family.samples]
        dropped = [row for row in rows if row.name == _DROPPED]
        return cls(
            int(sum(row.value for row in rows if row.name == _COMPARED)),
            int(sum(row.value for row in dropped)),
            int(sum(row.value for row in dropped if row.labels["reason"] == "gave-way")),
            sum(row.value for row in rows if row.name == _CPU),
        )


@dataclass(frozen=True, slots=True)
class _Turn:
    """A figure of one service, its calls and CPU seconds, and its comparisons within the turn and after it."""

    figure: float
    calls: int
    cpu: float
    compared: int
    gave_way: int
    compared_after: int

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU time for a call."""
        return 1e3 * self.cpu / self.calls


def saturated(target: Target, mix: Mix, callers: int, seconds: float) -> tuple[float, int]:
    """Let callers call in a closed loop; return images a second and the number of calls."""
    answers, took = keep_calling(target, mix, callers, seconds)
    return len(answers) / took, len(answers)


def calm(target: Target, mix: Mix, pause: float, seconds: float) -> tuple[float, int]:
    """Call once and pause, again and again; return the median milliseconds of a call, and their number."""
    waited: list[float] = []
    end = time.monotonic() + seconds
    while not waited or time.monotonic() < end:
        (answer,), _ = keep_calling(target, mix, 1, 0.0)
        waited.append(answer.seconds)
        time.sleep(pause)
    return 1e3 * statistics.median(waited), len(waited)


def measure(mix: Mix, callers: int, pause: float, seconds: float, rounds: int) -> list[Row]:
    """Call two services in turns under both loads. Raises SystemExit where one does not start."""
    loads: dict[tuple[str, str], Callable[[Target], tuple[float, int]]] = {
        (f"saturated, {callers} callers", "images/s"): lambda target: saturated(target, mix, callers, seconds),
        (f"calm, a pause of {pause:g} s", "ms"): lambda target: calm(target, mix, pause, seconds),
    }
    without, with_ = RATES
    with (
        LocalServer(LOG_LEVEL="error", SHADOW_RATE=str(without)) as plain,
        LocalServer(LOG_LEVEL="error", SHADOW_RATE=str(with_)) as comparing,
    ):
        for server in (plain, comparing):
            server.wait_until_ready()
            keep_calling(Target.of(server.url), mix, callers, min(seconds, 2.0))  # warms up
            _wait_until_quiet(server.url)
        urls = plain.url, comparing.url
        return [_row(name, in_turns(urls, partial(_turn, load), rounds)) for name, load in loads.items()]


def _turn(load: Callable[[Target], tuple[float, int]], url: str) -> _Turn:
    before = _Counts.of(url)
    figure, calls = load(Target.of(url))
    ended = _Counts.of(url)
    after = _wait_until_quiet(url)
    return _Turn(
        figure,
        calls,
        ended.cpu - before.cpu,
        ended.compared - before.compared,
        ended.gave_way - before.gave_way,
        after.compared - ended.compared,
    )


def _wait_until_quiet(url: str) -> _Counts:
    """Wait until a service counts no more comparisons; return its counts."""
    counts = _Counts.of(url)
    while True:
        time.sleep(QUIET_SECONDS)
        last, counts = counts, _Counts.of(url)
        if (counts.compared, counts.dropped) == (last.compared, last.dropped):
            return counts


def _row(name: tuple[str, str], rounds: Sequence[tuple[_Turn, _Turn]]) -> Row:
    plain, comparing = zip(*rounds, strict=True)
    load, unit = name
    return Row(
        load,
        unit,
        without=round(statistics.median(turn.figure for turn in plain), 3),
        with_=round(statistics.median(turn.figure for turn in comparing), 3),
        **asdict(Ratio.of([(without.figure, with_.figure) for without, with_ in rounds])),
        cpu_ms_without=round(statistics.median(turn.cpu_ms for turn in plain), 1),
        cpu_ms_with=round(statistics.median(turn.cpu_ms for turn in comparing), 1),
        cpu_ratio=Ratio.of([(without.cpu_ms, with_.cpu_ms) for without, with_ in rounds]).ratio,
        calls=sum(turn.calls for turn in comparing),
        compared=sum(turn.compared for turn in comparing),
        gave_way=sum(turn.gave_way for turn in comparing),
        compared_after=sum(turn.compared_after for turn in comparing),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = options(__doc__, query="attention=tangent", seconds=5.0, rounds=6)
    parser.add_argument("--callers", type=int, default=4, help="callers at a time that saturate the service")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two calls to a calm service")
    arguments = parser.parse_args(argv)
    environment: dict[str, Any] = machine()
    rows = measure(mix_of(arguments), arguments.callers, arguments.pause, arguments.seconds, arguments.rounds)
    write_results(arguments.output, {"environment": environment, "rows": [asdict(row) for row in rows]})
    columns = ("load", "without", "with", "ratio", "least", "greatest", "ratio of CPU time")
    table = Table(*columns, "calls", "compared", "gave way", "compared after")
    for row in rows:
        figures = (f"{value:.1f} {row.unit}" for value in (row.without, row.with_))
        ratios = (f"{value:.3f}" for value in (row.ratio, row.least, row.greatest, row.cpu_ratio))
        counts = (str(count) for count in (row.calls, row.compared, row.gave_way, row.compared_after))
        table.add_row(row.load, *figures, *ratios, *counts)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
