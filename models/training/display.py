"""Progress of a run: a bar with the time left on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 30.0
"""Minimum time between two lines of progress, without a terminal."""


class Display:
    """Shows one run of `steps` steps; `quiet` in every process but the first."""

    def __init__(self, steps: int, first_step: int, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("steps", total=steps, completed=first_step, status="")
        self._first = first_step
        self._steps = steps
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(escape(text), soft_wrap=True, highlight=False)

    def advance(self, step: int) -> None:
        """Show the number of steps made."""
        self._bar.update(self._task, completed=step)

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        status = " ".join(f"{name} {value:.4g}" for name, value in values.items() if name not in HIDDEN)
        self._bar.update(self._task, status=f"loss {values['total']:.3f} {values['images_per_second']:.1f} images/s")
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line >= LINE_SECONDS or step == self._steps):
            left = (now - self._began) / max(1, step - self._first) * (self._steps - step)
            self.say(f"step {step} of {self._steps}: {status}; {left / 60:.0f} min left")
            self._last_line = now


HIDDEN = ("rate",)
