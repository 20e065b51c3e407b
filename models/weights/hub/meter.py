"""Progress of several downloads as one, by the bars that huggingface_hub draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from models.weights.download import Progress


class Meter:
    """Calls `progress(bytes so far, bytes in all or None)` for files that are downloaded one after another."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self.show(0)

    def show(self, of_this_file: int) -> None:
        """Report so many bytes of the file that is downloaded."""
        if self._progress is not None:
            self._progress(self._done + of_this_file, self._total)

    def finish(self, size: int) -> None:
        """Count a file of so many bytes as downloaded."""
        self._done += size
        self.show(0)

    def bar(self) -> type[Any]:
        """A class to give as `tqdm_class`: it draws nothing and reports here."""
        return type("MeteredBar", (Bar,), {"meter": self})


class Bar:
    """What huggingface_hub needs of a tqdm bar. A file that is tried again may get a second one."""

    meter: Meter

    def __init__(self, *_: object, initial: int = 0, total: int | None = None, **__: object) -> None:
        self.n = initial
        self.total = total
        self.meter.show(self.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave everything as it is."""

    def update(self, n: float | None = 1) -> None:
        """Count `n` more bytes, or fewer where a file starts again."""
        self.n += int(n or 0)
        self.meter.show(self.n)

    def update_transfer(self, n: float | None = 1) -> None:
        """Ignore what came over the network: of a compressed file that is less than what is written."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Everything that is only to be seen."""
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None
