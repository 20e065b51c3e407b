"""What a training run sees when: page sizes that grow, a learning rate that warms up and falls."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """`steps` steps on pages whose shortest side lies in `shortest_sides` (pixels, both ends included)."""

    steps: int
    shortest_sides: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Small pages first: positions are encoded relative to the page, so what is learnt there carries over.

    The learning rate's factor warms up linearly and falls to `floor` along a cosine over all stages.
    """

    stages: tuple[Stage, ...]
    warmup_steps: int = 400
    floor: float = 0.01

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to; the last one for any later step."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def page_size(self, step: int) -> tuple[int, int]:
        """(height, width) in pixels of every page of one step: mostly portrait, as journals are."""
        chance = random.Random(step)
        shortest = chance.randint(*self.stage(step).shortest_sides)
        aspect = chance.choice((chance.uniform(1.28, 1.45), chance.uniform(1.28, 1.45), chance.uniform(1.0, 1.6)))
        longest = round(shortest * aspect)
        return (shortest, longest) if chance.random() < 0.06 else (longest, shortest)

    def rate(self, step: int) -> float:
        """The factor, in 0..1, of the peak learning rate at a step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
