"""Is this checkout as fast as another? Images a second through HTTP of both, in turns.

    git worktree add ../before COMMIT
    python -m deploy.loadtest.versions ../before [--callers 1 4] [--seconds 5] [--rounds 6] [--output FILE]

Both services run all the time, with the settings of the environment and the packages of this interpreter; only one is
called at a time. In each round they take turns, the first one first in every second round. The ratio is the median of
the rounds' ratios, this one over the other; its least and greatest say how much the machine varied.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.loadtest.turns import Ratio, in_turns, mix_of, options
from deploy.local_server import ROOT, LocalServer
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
        targets = Target.of(before.url), Target.of(now.url)
        for server, target in zip((before, now), targets, strict=True):
            server.wait_until_ready()
            keep_calling(target, mix, max(callers), min(seconds, 2.0))  # warms up
        return [_row(count, in_turns(targets, partial(_rate, mix, count, seconds), rounds)) for count in callers]


def _rate(mix: Mix, callers: int, seconds: float, target: Target) -> float:
    answers, took = keep_calling(target, mix, callers, seconds)
    return len(answers) / took


def _row(callers: int, rates: Sequence[tuple[float, float]]) -> Row:
    before, now = (round(statistics.median(column), 3) for column in zip(*rates, strict=True))
    return Row(callers, before, now, **asdict(Ratio.of(rates)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = options(__doc__, query="attention=exact", seconds=5.0, rounds=6)
    parser.add_argument("other", type=Path, help="the root of the checkout to compare with")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4], help="callers at a time")
    arguments = parser.parse_args(argv)
    if not (arguments.other / "service" / "__main__.py").is_file():
        parser.error(f"{arguments.other} is no checkout of act-detr: it has no service/__main__.py")
    environment: dict[str, Any] = machine()
    callers, seconds, rounds = arguments.callers, arguments.seconds, arguments.rounds
    rows = measure(arguments.other.resolve(), mix_of(arguments), callers, seconds, rounds)
    write_results(arguments.output, {"environment": environment, "rows": [asdict(row) for row in rows]})
    table = Table("callers", "before, images/s", f"{ROOT.name}, images/s", "ratio", "least", "greatest")
    for row in rows:
        table.add_row(str(row.callers), *(f"{value:.2f}" for value in list(asdict(row).values())[1:]))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
