"""Estimate the time of a run: a few of its steps are made and thrown away."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import torch

from models.training.data.batches import BatchStream
from models.training.plan.recipe import Recipe
from models.training.starting_point import StartingPoint
from models.training.trainer import Trainer
from models.training.training_state import TrainingState

TIMED_STEPS = 2
SLACK = 1.05
"""Machines slow down: a run is expected to take a twentieth more time than its parts."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a run's steps: `seconds` of one step of each stage, `shares` of the run's steps in it."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Seconds per step, averaged over the run."""
        return sum(second * share for second, share in zip(self.seconds, self.shares, strict=True))


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the parts of a plan: steps of the run and of the box refinement, and one validation."""

    run: Pace
    refinement: Pace | None
    validation: float
    preparation: float

    def seconds(self, steps: int, refinement_steps: int, validations: int) -> float:
        """Seconds of a whole plan."""
        refining = refinement_steps * self.refinement.mean if self.refinement else 0.0
        return self.preparation + SLACK * (steps * self.run.mean + refining + validations * self.validation)

    def steps_within(self, seconds: float, refinement_share: float, validations: int) -> int:
        """Steps of a run that, with all else, fits into the seconds; at least one."""
        refining = refinement_share * self.refinement.mean if self.refinement else 0.0
        left = (seconds - self.preparation) / SLACK - validations * self.validation
        return max(1, int(left / (self.run.mean + refining)))


def pace(start: StartingPoint, recipe: Recipe, stream: BatchStream, device: torch.device, workers: int) -> Pace:
    """Make a few steps of every stage on a copy of the model, after one that warms up.

    Reading images counts where the workers cannot keep up, or have no core of their own.
    """
    recipe = replace(recipe, schedule=replace(recipe.schedule, warmup_steps=recipe.steps))  # hardly moves
    trainer = Trainer(TrainingState(start, recipe, device), device)
    first, seconds, shares = 0, [], []
    for steps in [stage.steps for stage in recipe.stages.stages] if recipe.stages else [recipe.steps]:
        times = []
        for step in range(first, first + 1 + TIMED_STEPS):
            began = time.perf_counter()
            batch = stream.batch(step)
            read = time.perf_counter()
            trainer.update(batch)
            _wait(device)
            times.append((time.perf_counter() - read, read - began))
        stepping, reading = (sum(column) / TIMED_STEPS for column in zip(*times[1:], strict=True))
        seconds.append(_overlapped(stepping, reading, workers, device))
        shares.append(steps / recipe.steps)
        first += steps
    return Pace(tuple(seconds), tuple(shares))


def _overlapped(stepping: float, reading: float, workers: int, device: torch.device) -> float:
    if not workers:
        return stepping + reading
    cores = len(os.sched_getaffinity(0))
    if device.type == "cpu" and torch.get_num_threads() + workers > cores:
        return max(stepping + reading / cores, reading / workers)
    return max(stepping, reading / workers)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
