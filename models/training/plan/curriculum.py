"""Image sizes over the steps of a training run."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """`steps` steps on images whose shortest side lies in `shortest_sides` (pixels, both ends included)."""

    steps: int
    shortest_sides: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Small images first: positions are encoded relative to the image, so what is learnt on them carries over."""

    stages: tuple[Stage, ...]

    @classmethod
    def parse(cls, text: str) -> Curriculum:
        """Read "1500:192-224,1000:256-304": steps, then the range of the shortest side in pixels. Raises ValueError."""
        stages = []
        for part in text.split(","):
            try:
                steps, sides = part.split(":")
                low, high = sides.split("-")
                stage = Stage(int(steps), (int(low), int(high)))
            except ValueError:
                raise ValueError(f"{part!r} is no stage, which looks like 1500:192-224") from None
            if stage.steps < 1 or not 32 <= stage.shortest_sides[0] <= stage.shortest_sides[1]:
                raise ValueError(f"stage {part!r} needs at least one step and rising sides of at least 32 pixels")
            stages.append(stage)
        return cls(tuple(stages))

    def __str__(self) -> str:
        return ",".join(f"{stage.steps}:{stage.shortest_sides[0]}-{stage.shortest_sides[1]}" for stage in self.stages)

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
        rng = random.Random(step)
        shortest = rng.randint(*self.stage(step).shortest_sides)
        aspect = rng.choice((rng.uniform(1.28, 1.45), rng.uniform(1.28, 1.45), rng.uniform(1.0, 1.6)))
        longest = round(shortest * aspect)
        return (shortest, longest) if rng.random() < 0.06 else (longest, shortest)
