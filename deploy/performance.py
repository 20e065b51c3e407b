"""Draw the tables of docs/performance.md from the results that `make bench` wrote.

    python -m deploy.performance [--results FOLDER]

Each table stands between two comments that name it. By default the results are those in the `results` folders of the
repository; with FOLDER, all are read from there and the page is printed instead of written.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local_server import ROOT
from deploy.performance_tables import (
    attention_table,
    auto_table,
    peers_table,
    serving_table,
    sources_table,
    startup_table,
    throughput_table,
)
from models.whole_file import whole_file

PAGE: Final = ROOT / "docs" / "performance.md"
FILES: Final = {
    "attention": "models/benchmarks/results/attention.json",
    "auto": "models/benchmarks/results/auto.json",
    "r50-fp32": "models/benchmarks/results/r50-fp32.json",
    "r50-bf16": "models/benchmarks/results/r50-bf16.json",
    "dc5-fp32": "models/benchmarks/results/dc5-fp32.json",
    "dc5-bf16": "models/benchmarks/results/dc5-bf16.json",
    "serving": "deploy/loadtest/results/streams.json",
    "startup": "deploy/loadtest/results/startup.json",
    "peers": "deploy/peers/results/peers.json",
}
"""The results of `make bench`, by name."""
MODELS: Final[tuple[str, ...]] = ("r50-fp32", "r50-bf16", "dc5-fp32", "dc5-bf16")
NOT_MEASURED: Final = "Not measured yet."
Document = dict[str, Any]


def read(folder: Path | None = None) -> dict[str, Document]:
    """Return the results that are there, by name; `folder` has them all in one."""
    paths = {name: ROOT / file if folder is None else folder / Path(file).name for name, file in FILES.items()}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def tables(results: dict[str, Document]) -> dict[str, str]:
    """Return the Markdown of every table, by name."""
    makers: dict[str, Callable[[Document], str]] = {
        "attention": attention_table,
        "auto": auto_table,
        "serving": serving_table,
        "startup": startup_table,
        "peers": peers_table,
    }
    made = {name: make(results[name]) if name in results else NOT_MEASURED for name, make in makers.items()}
    networks = {name: results[name] for name in MODELS if name in results}
    made["throughput"] = throughput_table(networks) if networks else NOT_MEASURED
    made["sources"] = sources_table({name: results[name] for name in FILES if name in results})
    return made


def draw(page: str, results: dict[str, Document]) -> str:
    """Return the page with its tables drawn anew. Raises ValueError if it lacks the comments of a table."""
    for name, table in tables(results).items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        drawn = f"{begin}\n{table}\n\n{end}".replace("\\", r"\\")
        page, count = re.subn(f"{begin}.*?{end}", drawn, page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page has {count} places for the table {name}")
    return page


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="folder with all results, instead of the repository's")
    arguments = parser.parse_args(argv)
    page = draw(PAGE.read_text(encoding="utf-8"), read(arguments.results))
    if arguments.results is None:
        with whole_file(PAGE) as part:
            part.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
