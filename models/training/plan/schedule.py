"""The learning rate over the steps of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["cosine", "step", "wsd"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate's factor: a linear warm-up, then `cosine` down to `floor`, `step`, or `wsd`.

    `step` is DETR's: a tenth after two thirds of the run. `wsd` (warm-up, stable, decay) stays at the peak and falls
    along a line to `floor` in the last `decay` of the steps.
    """

    shape: Shape = "step"
    warmup_steps: int = 0
    floor: float = 0.01
    decay: float = 0.35

    def factor(self, step: int, steps: int) -> float:
        """The factor, in 0..1, at a step of a run of `steps`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.shape == "step":
            return 0.1 if 3 * step >= 2 * steps else 1.0
        if self.shape == "wsd":
            left = (steps - step) / max(1.0, self.decay * steps)
            return self.floor + (1 - self.floor) * max(0.0, min(1.0, left))
        progress = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
