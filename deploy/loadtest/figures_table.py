"""The table of figures in docs/reliability.md, made from the JSON that the runs wrote.

python -m deploy.loadtest.figures_table          # prints it
python -m deploy.loadtest.figures_table --write  # puts it into docs/reliability.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = Path(__file__).parent / "results"
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: made by `python -m deploy.loadtest.figures_table --write` -->"
END: Final = "<!-- end of figures -->"
COLUMNS: Final = (
    "run",
    "phase",
    "calls",
    "offered/s",
    "accepted/s",
    "200",
    "429",
    "other",
    "lost",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "lag p99 ms",
)


def markdown(folder: Path = RESULTS) -> str:
    """Return the tables of all runs in a folder, or a line that says that there is none."""
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    runs = {name: run for name, run in runs.items() if "phases" in run and "circumstances" in run}
    if not runs:
        return "No figures have been committed: run the commands above."
    rows = [row(name, phase, one) for name, run in runs.items() for phase, one in run["phases"].items()]
    table = [line(COLUMNS), line(["---"] * len(COLUMNS)), *map(line, rows)]
    return "\n".join([*table, *(part for name, run in runs.items() for part in ("", *facts(name, run)))])


def line(cells: list[str] | tuple[str, ...]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def row(name: str, phase: str, one: Mapping[str, Any]) -> list[str]:
    """The figures of one phase of a run."""
    counts = one["by_status"]
    others = sum(count for status, count in counts.items() if status not in ("200", "429"))
    took = one["accepted_ms"]
    times = (took["p50"], took["p99"], took["p999"], one["generator_lag_ms"]["p99"])
    numbers = (one["sent"], one["offered_per_s"], one["accepted_per_s"], counts.get("200", 0), counts.get("429", 0))
    return [name, phase, *(f"{number:g}" for number in (*numbers, others, one["lost"])), *map(milliseconds, times)]


def milliseconds(value: float | None) -> str:
    """A time, whole; nothing where nothing was measured."""
    return "" if value is None else f"{value:.0f}"


def facts(name: str, run: Mapping[str, Any]) -> list[str]:
    """The circumstances of a run, its promises and what was seen of each."""
    on = run["circumstances"]
    served = on["served"]
    load = on["load_average_before"][0]
    made = f"`{name}.json`: `{on['command']}` at {on['commit'][:12]}, {on['date']}"
    where = f"{served['name']} on {served['device']}; {on['device']}, {on['cpus']} cores, load average {load:g} before."
    return [f"{made}; {where}", ""] + [
        f"- {'kept' if promise['holds'] else '**broken**'}: {promise['name']} ({promise['seen']})"
        for promise in run.get("promises", ())
    ]


def inserted(document: str, table: str) -> str:
    """Return the document with the table between its marks. Raises ValueError where they are missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for the figures: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> None:
    """Print the table, or write it into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    if parser.parse_args().write:
        DOCUMENT.write_text(inserted(DOCUMENT.read_text(encoding="utf-8"), markdown()), encoding="utf-8")
    else:
        print(markdown())


if __name__ == "__main__":
    main()
