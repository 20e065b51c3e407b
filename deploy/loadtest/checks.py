"""Checks of a run: those that several programs make, how they are printed, and the exit status."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from deploy.loadtest.load import Outcome
from deploy.loadtest.watch import Sample
from models.measurement.results import write_results

Phases = Mapping[str, dict[str, Any]]
"""The summary of each phase, by name."""


@dataclass(frozen=True, slots=True)
class Check:
    """A guarantee, whether it holds, and what was observed."""

    name: str
    holds: bool
    observed: str


@dataclass(frozen=True, slots=True)
class Run:
    """All attempts, the samples of the service, and what only a service of the run's own can tell.

    `server_counts` are answers by status that the service counted, `errors_logged` the errors in its log; None where
    others call the service too.
    """

    outcomes: Sequence[Outcome]
    samples: Sequence[Sample]
    server_counts: Mapping[str, int] | None
    errors_logged: int | None


def common_checks(run: Run) -> list[Check]:
    """Check what holds under any load: one answer each, liveness, true metrics, no error logged."""
    checks = [one_answer_each(run), stays_live(run)]
    if run.server_counts is not None:
        ours = dict(Counter(str(outcome.status) for outcome in run.outcomes if outcome.status))
        counts = dict(run.server_counts)
        checks.append(Check("its metrics count what callers got", ours == counts, f"callers {ours}, metrics {counts}"))
    if run.errors_logged is not None:
        checks.append(Check("it logs no error", run.errors_logged == 0, f"{run.errors_logged} lines"))
    return checks


def one_answer_each(run: Run) -> Check:
    """Check that none is cut off, left to hang, refused at the port or answered twice."""
    failures = Counter(outcome.failure for outcome in run.outcomes if outcome.failure)
    observed = f"{len(run.outcomes)} requests, without exactly one answer: {dict(failures) or 0}"
    return Check("every request gets exactly one answer", not failures, observed)


def stays_live(run: Run) -> Check:
    """Check that a supervisor that asks /livez has no reason to kill it."""
    failed = sum(sample.live != 200 for sample in run.samples)
    slowest = max((sample.live_seconds for sample in run.samples), default=math.nan)
    observed = f"{len(run.samples)} probes, {failed} failed, the slowest took {slowest:.2f} s"
    return Check("it stays live", failed == 0 and bool(run.samples), observed)


def memory(samples: Sequence[Sample]) -> str:
    """Describe resident memory at the start, at most and at the end."""
    sizes = [sample.rss_bytes / 1e6 for sample in samples if math.isfinite(sample.rss_bytes)] or [math.nan]
    return f"{sizes[0]:.0f} MB at first, {max(sizes):.0f} at most, {sizes[-1]:.0f} at last"


def show(phases: Phases) -> None:
    """Print a table of the phases: rates, calls by status, latencies of accepted calls in milliseconds."""
    rates, times = ("calls", "offered/s", "accepted/s", "by status", "lost"), ("p50", "p90", "p99", "p99.9", "lag p99")
    table = Table("phase", *rates, *times, title="latencies of accepted calls in ms, from when they were due")
    for name, phase in phases.items():
        statuses = "  ".join(f"{status}: {count}" for status, count in phase["by_status"].items())
        measured = [*(phase["accepted_ms"][q] for q in ("p50", "p90", "p99", "p999")), phase["lag_ms"]["p99"]]
        cells = (f"{phase['offered_per_s']:.2f}", f"{phase['accepted_per_s']:.2f}", statuses, str(phase["lost"]))
        table.add_row(name, str(phase["sent"]), *cells, *("" if ms is None else f"{ms:.0f}" for ms in measured))
    Console(width=120).print(table)


def finish(path: Path | None, results: Mapping[str, Any], phases: Phases, checks: Sequence[Check]) -> NoReturn:
    """Write the results, phases and checks, print phases and checks, and exit with 1 where a check fails."""
    write_results(path, {**results, "phases": phases, "checks": [asdict(check) for check in checks]})
    show(phases)
    for check in checks:
        print(f"{'ok  ' if check.holds else 'FAIL'} {check.name}: {check.observed}", flush=True)
    raise SystemExit(0 if all(check.holds for check in checks) else 1)
