"""Warnings of a run that is going nowhere, while there is time to stop it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

from models.training.objective.matcher import NotFinite
from models.training.validation import Validation

A_THIRD: Final = 1 / 3
WINDOW: Final = 20
"""Reported losses in an average."""
FLAT: Final = 0.98
"""A loss above this share of the first one has not fallen."""
NOTHING: Final = 0.001
NEVER: Final = 0.05
"""A class whose best score is below this is never predicted."""

REMEDIES: Final = (
    "see whether the boxes are right (validation.png shows them when the run ends), give the run more time "
    "(--minutes, --epochs), or start from a model that knows such images"
)


class Watch:
    """Looks at the losses and validations of a run of `steps` steps, and gives each warning once.

    A run that resumes from a later `step` is not judged by its losses: the first ones are not known.
    """

    def __init__(self, steps: int, step: int = 0) -> None:
        self._steps = steps
        self._from_the_start = step == 0
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._said: set[str] = set()

    def losses(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Warnings after a report. Raises NotFinite for a loss that is infinite or none."""
        total = values["total"]
        if not math.isfinite(total):
            raise NotFinite(f"the loss of step {step} is {total}")
        if len(self._first) < WINDOW:
            self._first.append(total)
            return []
        self._last.append(total)
        if not self._from_the_start or not self._late(step) or len(self._last) < WINDOW:
            return []
        first, last = sum(self._first) / WINDOW, sum(self._last) / WINDOW
        if last <= FLAT * first:
            return []
        return self._once(
            "flat", f"the loss has not fallen: {last:.3g} now, {first:.3g} at first; try another learning_rate, or "
        )

    def validation(self, step: int, validation: Validation) -> list[str]:
        """Warnings after a validation, from a third of the run on."""
        if not self._late(step):
            return []
        if all(row.ap50 < NOTHING for row in validation.metrics.values()):
            return self._once("nothing", f"nothing is detected yet after {step} of {self._steps} steps (AP50 0): ")
        never = [name for name, score in validation.best_scores.items() if score < NEVER]
        if not never:
            return []
        return self._once(f"never {never}", f"never predicted so far: {', '.join(never)}; ")

    def _late(self, step: int) -> bool:
        return step >= self._steps * A_THIRD

    def _once(self, key: str, text: str) -> list[str]:
        if key in self._said:
            return []
        self._said.add(key)
        return [f"warning: {text}{REMEDIES}"]
