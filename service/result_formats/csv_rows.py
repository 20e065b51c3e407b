"""A row for each detection, for spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CSV_HEADER: Final = ("file", "label", "score", "xmin", "ymin", "xmax", "ymax")

CsvRow = tuple[str, str, float, float, float, float, float]
"""Values of `CSV_HEADER`: corners in pixels of the upright original image, the score in 0..1."""


def csv_rows(answer: Mapping[str, Any], file: str) -> list[CsvRow]:
    """Convert an answer of `/detect` to a row for each detection, best first; masks are left out."""
    boxes = ((detection, detection["box"]) for detection in answer["detections"])
    return [
        (file, detection["label"], detection["score"], box["xmin"], box["ymin"], box["xmax"], box["ymax"])
        for detection, box in boxes
    ]
