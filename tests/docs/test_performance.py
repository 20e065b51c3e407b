"""The tables of the performance page are those that its results give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.performance import FILES, NOT_MEASURED, PAGE, draw, main, read, tables

MAX_LINES = 180
THROUGHPUT = {
    "batch": 2,
    "unavailable": {"OpenVINO": "it is not installed"},
    "engines": [
        {"engine": "ours, tangent:C=16", "milliseconds_per_batch": {"median": 1000.0}},
        {"engine": "transformers", "milliseconds_per_batch": {"median": 3000.0}},
    ],
}
ENVIRONMENT = {
    "date": "2026-01-02T00:00:00+00:00",
    "device": "a processor",
    "torch": "2.11.0+cpu",
    "commit": "0123456789+changes",
    "command": "python -m models.benchmarks.throughput",
}


def test_the_page_has_what_the_results_give() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert draw(page, read()) == page, "python -m deploy.performance draws it anew"
    assert len(page.splitlines()) <= MAX_LINES


def test_a_network_is_compared_with_transformers() -> None:
    made = tables({"r50-fp32": THROUGHPUT | ENVIRONMENT})
    assert made["throughput"] == (
        "| engine | R50, FP32 |\n| --- | --- |\n| ours, `tangent:C=16` | 0.5 s; 3.00 |\n"
        "| transformers | 1.5 s; 1.00 |\n\nNot run: OpenVINO: it is not installed."
    )
    assert "| r50-fp32 | 2026-01-02 | a processor, torch 2.11.0 | 0123456+ |" in made["sources"]
    assert made["attention"] == made["peers"] == NOT_MEASURED


def test_drawing_replaces_tables_and_nothing_else() -> None:
    page = PAGE.read_text(encoding="utf-8")
    bare = draw(page, {})
    assert bare.count(NOT_MEASURED) == len(tables({})) - 1  # the sources are an empty table
    assert draw(bare, read()) == draw(page, read())


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the table"):
        draw("# Performance\n", {})


def test_results_of_another_folder_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = PAGE.read_text(encoding="utf-8")
    document: dict[str, Any] = THROUGHPUT | ENVIRONMENT
    (tmp_path / Path(FILES["r50-fp32"]).name).write_text(json.dumps(document))
    main(["--results", str(tmp_path)])
    assert "0.5 s; 3.00" in capsys.readouterr().out
    assert PAGE.read_text(encoding="utf-8") == before
