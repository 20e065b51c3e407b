from __future__ import annotations

import csv
from io import StringIO
from typing import Any

from service.result_formats.csv_rows import CSV_HEADER, csv_rows


def test_a_row_has_the_values_of_the_header(answer: dict[str, Any]) -> None:
    assert csv_rows(answer, "a.png") == [
        ("a.png", "table", 0.9, 20.0, 10.5, 120.01, 60.0),
        ("a.png", "text", 0.6, 0.0, 0.0, 200.0, 100.0),
    ]


def test_rows_come_back_from_a_file(answer: dict[str, Any]) -> None:
    file = StringIO()
    csv.writer(file).writerows([CSV_HEADER, *csv_rows(answer, 'odd, "name".png')])
    first = next(iter(csv.DictReader(StringIO(file.getvalue()))))
    assert (first["file"], first["label"], float(first["xmax"])) == ('odd, "name".png', "table", 120.01)
