"""How a run is told: what it ran on, the promises that it kept or broke, tables for people and JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from deploy.loadtest.callers import Outcome
from deploy.loadtest.exchange import Target, exchange
from deploy.loadtest.summary import Summary
from deploy.loadtest.traffic import Mix, mixed_images

_console = Console(width=120)


@dataclass(frozen=True, slots=True)
class Promise:
    """What must hold, whether it did, and what was seen."""

    name: str
    holds: bool
    seen: str


def add_traffic_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is sent and where the figures go."""
    parser.add_argument("--image", type=Path, action="append", help="send these images instead of generated pages")
    parser.add_argument("--query", action="append", help="send these queries, as `attention=act&L=16`")
    parser.add_argument("--deadline-ms", type=float, action="append", help="deadlines, drawn evenly (30000)")
    parser.add_argument("--arrivals", choices=["poisson", "constant"], default="poisson")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")


def mix_of(arguments: argparse.Namespace) -> Mix:
    """Return the mix that the command line asks for."""
    images = tuple(file.read_bytes() for file in arguments.image) if arguments.image else mixed_images(arguments.seed)
    plain = Mix(images)
    return Mix(images, tuple(arguments.query or plain.queries), tuple(arguments.deadline_ms or plain.deadlines_ms))


async def circumstances(target: Target) -> dict[str, Any]:
    """What the figures mean nothing without: those of `here`, the settings, the model served."""
    card = json.loads((await exchange(target, "GET", "/model", patience=30)).body)
    served = {name: card[name] for name in ("name", "version", "device", "precision", "default_deadline_ms", "limits")}
    settings = {name: value for name, value in os.environ.items() if name.startswith("ACT_DETR_") and "KEY" not in name}
    return {**here(), "settings": settings, "served": served}


def here() -> dict[str, Any]:
    """Date, commit, command, processor and its load."""
    import torch

    from models.measurement.environment import run_environment

    ours = {
        name: value for name, value in run_environment(torch.device("cpu")).items() if name not in ("triton", "cuda")
    }
    return {
        **ours,
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "cpus": len(os.sched_getaffinity(0)),
        "load_average_before": [round(value, 2) for value in os.getloadavg()],
    }


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """A row a phase: calls by status, latencies of those accepted in milliseconds."""
    columns = (
        "sent",
        "offered/s",
        "accepted/s",
        "by status",
        "lost",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "429s' p99",
        "lag p99",
    )
    table = Table("phase", *columns, title="milliseconds from when calls were due; accepted calls unless it says 429")
    for name, one in summaries.items():
        statuses = "  ".join(f"{status}: {count}" for status, count in one.by_status.items())
        took = one.accepted_ms
        times = (took.p50, took.p90, took.p99, took.p999, one.refused_ms.p99, one.generator_lag_ms.p99)
        rates = (f"{one.offered_per_s:.2f}", f"{one.accepted_per_s:.2f}")
        table.add_row(name, str(one.sent), *rates, statuses, str(one.lost), *(_milliseconds(time) for time in times))
    return table


def show(summaries: Mapping[str, Summary], promises: Sequence[Promise] = ()) -> None:
    """Print the tables."""
    _console.print(summary_table(summaries))
    for name, one in summaries.items():
        if one.causes:
            _console.print(f"{name}: {'; '.join(f'{count} x {cause}' for cause, count in one.causes.items())}")
        if one.retry_after.refusals:
            _console.print(f"{name}: Retry-After {asdict(one.retry_after)}")
    for promise in promises:
        mark = "[green]kept  [/]" if promise.holds else "[bold red]BROKEN[/]"
        _console.print(f"{mark} {promise.name}: {promise.seen}", soft_wrap=True)


def say(text: str) -> None:
    """Print a line on the progress of the run."""
    _console.print(text, style="dim", soft_wrap=True, markup=False)


def write(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures as JSON, where a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def finish(path: Path | None, figures: Mapping[str, Any], promises: Sequence[Promise]) -> NoReturn:
    """Write the figures, and leave with 1 when a promise was broken."""
    write(path, figures)
    raise SystemExit(0 if all(promise.holds for promise in promises) else 1)


def write_records(path: Path | None, outcomes: Sequence[Outcome]) -> None:
    """Write every attempt as a line of JSON, where a path is given."""
    if path is not None:
        path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in outcomes), encoding="utf-8")


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
