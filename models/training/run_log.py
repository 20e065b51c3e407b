"""The log of a run: `metrics.jsonl` and curves for TensorBoard, both without gaps or repeats over restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from models.whole_file import whole_file

METRICS = "metrics.jsonl"


class RunLog:
    """Writes rows of named numbers by step, unless it is `silent`.

    A run that resumes from `step` drops the rows after it.
    """

    def __init__(self, output: Path, step: int, silent: bool = False) -> None:
        self._silent = silent
        if silent:
            return
        metrics = output / METRICS
        _cut(metrics, step)
        self._lines = metrics.open("a", encoding="utf-8", buffering=1)
        self._curves = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._silent:
            return
        self._lines.close()
        self._curves.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row, and one point on every curve; `step` counts the steps made."""
        if self._silent:
            return
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._curves.add_scalar(name, value, step)


def _cut(metrics: Path, step: int) -> None:
    """Keep the rows of steps up to `step`; a row that was cut off in writing goes too."""
    if not metrics.exists():
        return
    kept = [line for line in metrics.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
    with whole_file(metrics) as part:
        part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return float("inf")
    return float(row["step"])
