"""One run of `act-detr detect`: what it does with each outcome, and what it says at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from service.cli.console import err, error_text, progress_bar
from service.cli.detection_source import DetectionSource
from service.cli.detection_table import print_table
from service.cli.found_images import FoundImage
from service.cli.journal import Journal
from service.cli.json_lines import json_line
from service.client import FileOutcome, NoAnswer
from service.errors import BadParameter, ServiceError

_COLUMNS: Final[tuple[type[ProgressColumn], ...]] = (BarColumn, MofNCompleteColumn, TimeRemainingColumn)


class DetectionRun:
    """Detects in files and keeps count.

    Results are printed as tables, or `as_json` as lines; with a `journal`, they are written there, and printed only
    `as_json`. `save` is the folder for pictures. A file that the journal has is left out.
    """

    def __init__(self, source: DetectionSource, *, save: Path | None, as_json: bool, journal: Journal | None) -> None:
        self._source = source
        self._save = save
        self._as_json = as_json
        self._journal = journal
        self._detected = 0
        self._failed = 0

    def detect(self, found: Sequence[FoundImage]) -> int:
        """Return the exit status: 1 if a file failed, or if nothing can be detected any more.

        Raises BadParameter for options that the source refuses, and OSError if an output cannot be written.
        """
        todo, before = self._left(found)
        started = time.monotonic()
        with progress_bar(TextColumn("detecting"), *(column() for column in _COLUMNS)) as progress:
            bar = progress.add_task("files", total=len(todo))
            try:
                files = [one.file for one in todo]
                for one, outcome in zip(todo, self._source.outcomes(files, self._save is not None), strict=True):
                    self._take(one, outcome)
                    progress.advance(bar)
            except (ServiceError, NoAnswer) as error:
                if isinstance(error, BadParameter):
                    raise
                self._failed = len(todo) - self._detected
                err.print(f"[red]stopped: {escape(str(error))}[/red]", soft_wrap=True)
        self._summarize(before, time.monotonic() - started)
        return 1 if self._failed else 0

    def _left(self, found: Sequence[FoundImage]) -> tuple[list[FoundImage], int]:
        """Return what is to be done, and how many files are done; with a journal, each file counts once."""
        if self._journal is None:
            return list(found), 0
        done = self._journal.done
        each = {one.file: one for one in found}.values()
        todo = [one for one in each if str(one.file) not in done]
        return todo, len(each) - len(todo)

    def _take(self, one: FoundImage, outcome: FileOutcome) -> None:
        result = outcome.result
        if result is None:
            self._failed += 1
            why = error_text(outcome.error or ValueError("no result"))
            err.print(f"[red]{escape(str(one.file))}:[/red] {escape(why)}", soft_wrap=True)
            return
        if self._save is not None and outcome.drawn is not None:
            picture = self._save / one.below.with_name(f"{one.below.name}.png")
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(outcome.drawn)
        if self._journal is not None:
            self._journal.append(one.file, result)
        if self._as_json:
            print(json_line(one.file, result), flush=self._journal is None)
        elif self._journal is None:
            print_table(one.file, result)
        self._detected += 1

    def _summarize(self, before: int, seconds: float) -> None:
        files = self._detected + self._failed + before
        if files == 1:
            return
        earlier = f"{before} done before, " if before else ""
        speed = f", {self._detected / seconds:.1f} images/s" if self._detected else ""
        err.print(f"{files} files: {earlier}{self._detected} detected, {self._failed} failed{speed}", highlight=False)
