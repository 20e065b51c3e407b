"""The tables of a comparison, and how far the service is ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.peers.contestants import OURS

Row = dict[str, Any]
_QUANTILES = ("p50", "p95", "p99")


def ratios(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return the service's figure over the best peer's, each with its own best number of callers or at each load.

    None where the best peer's is 0, or there is no peer.
    """
    found = {"throughput": _ratio([row for row in rows if "callers" in row], "images_per_s")}
    for load in sorted({row["load"] for row in rows if "load" in row}):
        found[f"goodput at {load:g}"] = _ratio([row for row in rows if row.get("load") == load], "goodput_per_s")
    return found


def _ratio(rows: Sequence[Row], figure: str) -> float | None:
    ours = max((row[figure] for row in rows if row["server"] == OURS), default=0.0)
    best = max((row[figure] for row in rows if row["server"] != OURS), default=0.0)
    return round(ours / best, 3) if best else None


def show(rows: Sequence[Row], deadline_s: float) -> None:
    """Print a table of the closed loops, one of the open loops, and the ratios."""
    console = Console(width=130)
    rest = (*(f"{q} ms" for q in _QUANTILES), "CPU s/image", "peak MB", "by status")
    closed = Table("callers", "server", "images/s", *rest, title="closed loop")
    for row in (row for row in rows if "callers" in row):
        closed.add_row(str(row["callers"]), row["server"], f"{row['images_per_s']:.2f}", *_cells(row))
    good = f"in {deadline_s:g} s, /s"
    opened = Table("load", "server", good, "share", *rest, title="open loop; load 1 is what the service can take")
    for row in (row for row in rows if "load" in row):
        share = "" if row["in_time"] is None else f"{row['in_time']:.2f}"
        opened.add_row(f"{row['load']:g}", row["server"], f"{row['goodput_per_s']:.2f}", share, *_cells(row))
    console.print(*(table for table in (closed, opened) if table.rows))
    for name, ratio in ratios(rows).items():
        console.print(f"{name}: the service has {'-' if ratio is None else f'{ratio:.2f}'} times the best peer's")


def _cells(row: Row) -> list[str]:
    times = ["" if row["ms"][q] is None else f"{row['ms'][q]:.0f}" for q in _QUANTILES]
    cpu = "" if row["cpu_s_per_image"] is None else f"{row['cpu_s_per_image']:.3f}"
    statuses = "  ".join(f"{status}: {count}" for status, count in row["by_status"].items())
    return [*times, cpu, f"{row['peak_mb']:.0f}", statuses]
