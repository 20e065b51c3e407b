"""Results of a measurement as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.whole_file import whole_file


def write_results(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write results as JSON where a path is given, whole, into a folder that is made if it is missing.

    Programs write before they print: a reader of the output that leaves early, such as `head`, ends the program.
    Raises OSError where the file cannot be written.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
