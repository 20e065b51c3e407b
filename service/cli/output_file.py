"""The file that `act-detr detect --output` writes: JSON lines, COCO's results, CSV, or Label Studio's tasks."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal
from urllib.parse import quote

from models.whole_file import whole_file
from service.cli.journal import Journal
from service.result_formats.coco import coco_results
from service.result_formats.csv_rows import CSV_HEADER, csv_rows
from service.result_formats.label_studio import label_studio_task

Format = Literal["jsonl", "coco", "csv", "label-studio"]
_SUFFIXES: Final[dict[str, Format]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "coco", ".csv": "csv"}
_JOURNAL: Final = ".journal"
_LOCAL_FILES: Final = "/data/local-files/?d="
"""Where Label Studio serves files of its own folder."""


class OutputFile:
    """An output file in one of the formats.

    JSON lines are their own journal. The other formats have one beside them, `FILE.journal`, of which `finish` makes
    the file.
    """

    def __init__(self, path: Path, chosen: Format | None) -> None:
        """Take the format that was chosen, else that of the ending. Raises ValueError where nothing can be written."""
        kind = chosen or _SUFFIXES.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"--output {path}: give its --format, as it ends in none of {', '.join(_SUFFIXES)}")
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent} to write {path.name} into")
        self.path = path
        self.kind = kind
        self._journal = path if kind == "jsonl" else path.with_name(path.name + _JOURNAL)
        if path.exists() and not self._journal.exists():
            raise ValueError(
                f"{path} exists, but not {self._journal}, from which to go on: choose another file, or delete it"
            )

    def journal(self, model: str, options: Mapping[str, Any]) -> Journal:
        """Open the journal, which has what earlier runs did.

        Raises as Journal, and ValueError for masks in a form that the format does not take.
        """
        if self.kind == "label-studio" and options.get("masks") == "rle":
            raise ValueError("Label Studio takes polygons: use --masks polygons")
        return Journal(self._journal, model, options)

    def finish(self, journal: Journal, categories: Mapping[str, int]) -> None:
        """Write the file of all lines of the journal; `categories` has COCO's id of each class. Raises OSError."""
        if self.kind == "jsonl":
            return
        with (
            whole_file(self.path) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as to,
        ):
            if self.kind == "csv":
                _write_csv(to, journal)
            elif self.kind == "coco":
                _write_list(to, _coco_rows(journal, categories))
            else:
                _write_list(to, _tasks(journal))


def _write_csv(to: IO[str], journal: Journal) -> None:
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in journal.rows():
        writer.writerows(csv_rows(row, row["file"]))


def _write_list(to: IO[str], rows: Iterator[Any]) -> None:
    """Write a list with a line for each of its members."""
    to.write("[")
    for index, row in enumerate(rows):
        to.write(("\n" if index == 0 else ",\n") + json.dumps(row))
    to.write("\n]\n")


def _coco_rows(journal: Journal, categories: Mapping[str, int]) -> Iterator[Any]:
    numbers = Counter(number for file in journal.done if (number := _number(file)) is not None)
    alone = all(count == 1 for count in numbers.values())
    for row in journal.rows():
        number = _number(row["file"])
        yield from coco_results(row, number if number is not None and alone else row["file"], categories)


def _tasks(journal: Journal) -> Iterator[Any]:
    for row in journal.rows():
        address = _LOCAL_FILES + quote(Path(row["file"]).as_posix(), errors="surrogateescape")
        yield label_studio_task(row, address)


def _number(file: str) -> int | None:
    """Return the number that a file is named by, as COCO's are."""
    stem = Path(file).stem
    return int(stem) if stem.isascii() and stem.isdecimal() else None
