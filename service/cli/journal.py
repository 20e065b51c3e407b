"""The results of many files in a file that grows by a line each, and from which a run that was stopped goes on."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from models.whole_file import sync_folder
from service.cli.json_lines import json_line

if TYPE_CHECKING:
    from service.http.schemas import DetectionResult


_START: Final = b'{"file": '
"""How every line begins."""


class Journal:
    """Lines of JSON: the `file`, the `options` and the result of each.

    A line is written at once, so that whatever ends the process leaves whole lines, but for the last one; what is left
    of that is cut off when the journal is opened again. `model` and `options` are those of all lines. `done` are the
    files that have a line.

    Raises OSError where it cannot be written, and ValueError for a file that is no such journal, one of another model
    or other options, and one that another process writes.
    """

    def __init__(self, path: Path, model: str, options: Mapping[str, Any]) -> None:
        self.path = path
        self.done: set[str] = set()
        self._model = model
        self._options = dict(options)
        self._file = path.open("ab+", buffering=0)
        try:
            self._check_kind()
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self.path.parent)

    def append(self, path: Path, result: DetectionResult) -> None:
        """Write a line."""
        rest = memoryview(f"{json_line(path, result, {'options': self._options})}\n".encode())
        while rest:
            rest = rest[self._file.write(rest) :]
        self.done.add(str(path))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the lines as they are read."""
        with self.path.open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def _check_kind(self) -> None:
        """Refuse devices, and early what cannot be a journal, whose lines may be of any length."""
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise ValueError(f"{self.path} is not a file that can be written and read again")
        self._file.seek(0)
        start = self._file.read(len(_START))
        if not _START.startswith(start):
            raise self._foreign(1)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is writing {self.path}") from None

    def _read(self) -> None:
        whole = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    self.done.add(self._checked(line, number))
                    whole += len(line)
        self._file.truncate(whole)

    def _checked(self, line: bytes, number: int) -> str:
        """Return the file of a line."""
        try:
            row = json.loads(line)
            file, options, model = row["file"], row["options"], row["model"]
        except (ValueError, LookupError, TypeError):
            raise self._foreign(number) from None
        if (model, options) != (self._model, self._options):
            raise ValueError(
                f"{self.path} has results of {_described(model, options)}, not of "
                f"{_described(self._model, self._options)}: choose another file, or delete it"
            )
        return str(file)

    def _foreign(self, line: int) -> ValueError:
        return ValueError(f"{self.path} was not written by this command: line {line} has no result and options")


def _described(model: str, options: Mapping[str, Any]) -> str:
    given = [f"{name}={value}" for name, value in options.items() if value != []]
    return f"{model} with {', '.join(given) or 'default options'}"
