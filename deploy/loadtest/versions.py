"""Is this checkout as fast as another? Images a second through HTTP of both, in turns.

    git worktree add ../before COMMIT
    python -m deploy.loadtest.versions ../before [--callers 1 4] [--seconds 5] [--rounds 6] [--output FILE]

Both services run all the time, with the settings of the environment and the packages of this interpreter; only one is
called at a time. In each round they take turns, the first one first in every second round. The ratio is the median of
the rounds' ratios, this one over the other; its least and greatest say how much the machine varied.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.local_server import ROOT, SAMPLE_PAGE, LocalServer
from models.measurement.results import write_results


@dataclass(frozen=True, slots=True)
class Row:
    """Images a second of both checkouts with so many callers, as medians, and this one's over the other's."""

    callers: int
    before: float
    now: float
    ratio: float
    least: float
    greatest: float


def measure(other: Path, mix: Mix, callers: Sequence[int], seconds: float, rounds: int) -> list[Row]:
    """Call the services of this checkout and of the `other` in turns. Raises SystemExit where one does not start."""
    with LocalServer(root=other, LOG_LEVEL="error") as before, LocalServer(LOG_LEVEL="error") as now:
        targets = []
        for server in (before, now):
            server.wait_until_ready()
            targets.append(Target.of(server.url))
            keep_calling(targets[-1], mix, max(callers), min(seconds, 2.0))  # warms up
        rates = {count: [_turn(targets, mix, count, seconds, number) for number in range(rounds)] for count in callers}
    return [_row(count, each) for count, each in rates.items()]


def _turn(targets: Sequence[Target], mix: Mix, callers: int, seconds: float, number: int) -> tuple[float, float]:
    """Images a second of (the other, this one)."""
    rates = [0.0, 0.0]
    for which in (0, 1) if number % 2 == 0 else (1, 0):
        answers, took = keep_calling(targets[which], mix, callers, seconds)
        rates[which] = len(answers) / took
    return rates[0], rates[1]


def _row(callers: int, rates: Sequence[tuple[float, float]]) -> Row:
    before, now = (statistics.median(column) for column in zip(*rates, strict=True))
    ratios = [of_this / of_other for of_other, of_this in rates]
    values = (before, now, statistics.median(ratios), min(ratios), max(ratios))
    return Row(callers, *(round(value, 3) for value in values))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the root of the checkout to compare with")
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of the sample page")
    parser.add_argument("--query", default="attention=exact", help="the query of every call")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4], help="callers at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    if not (arguments.other / "service" / "__main__.py").is_file():
        parser.error(f"{arguments.other} is no checkout of act-detr: it has no service/__main__.py")
    environment: dict[str, Any] = machine()
    mix = Mix(tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]), (arguments.query,))
    rows = measure(arguments.other.resolve(), mix, arguments.callers, arguments.seconds, arguments.rounds)
    write_results(arguments.output, {"environment": environment, "rows": [asdict(row) for row in rows]})
    table = Table("callers", "before, images/s", f"{ROOT.name}, images/s", "ratio", "least", "greatest")
    for row in rows:
        table.add_row(str(row.callers), *(f"{value:.2f}" for value in list(asdict(row).values())[1:]))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
