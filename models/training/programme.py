"""A person's wish becomes a model: a plan, the run, the box refinement after it, and what people look at."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from models.training.data.training_data import class_names
from models.training.interruption import Interruption
from models.training.plan.decisions import Decisions, decide
from models.training.plan.plan_text import description
from models.training.plan.planning import Plan, Request
from models.training.plan.recipe import Recipe
from models.training.processes import gathered, rank
from models.training.run import BEST, CHECKPOINT, MODEL, Run, RunOptions
from models.training.run_report import write_report
from models.training.starting_point import StartingPoint, relabelled, starting_point
from models.training.train import begun, one_run
from models.training.training_state import read_state, resting_point

REFINEMENT = "refinement"
UNREFINED = "unrefined.safetensors"


def carry_out(request: Request, surroundings: RunOptions) -> bool:
    """Train as a person asks, or go on where `output` was left. Returns False if asked to stop before the end.

    Raises as `models.training.train.train`, and ValueError for wishes that do not fit together.
    """
    with begun(surroundings) as (device, interruption):
        planned, remarks = made_plan(request, surroundings, device)
        first = one_run(planned.recipe, surroundings, device, interruption, remarks)
        if first is None:
            return False
        if planned.refinement is not None and not refined(planned.refinement, first, surroundings, interruption):
            return False
        if rank() == 0:
            write_report(surroundings.output, REFINEMENT, first.held_out, first.display.say)
    return True


def refined(recipe: Recipe, first: Run, surroundings: RunOptions, interruption: Interruption) -> bool:
    """Train the box refinement of what a run has made, and serve it if it is better. False: asked to stop."""
    output = surroundings.output
    unrefined, folder = output / UNREFINED, output / REFINEMENT
    folder.mkdir(exist_ok=True)
    if rank() == 0 and not unrefined.exists():
        shutil.copyfile(output / (BEST if (output / BEST).exists() else MODEL), unrefined)
    gathered(None)  # until the file is there
    own = replace(surroundings, output=folder, name=first.state.config.name)
    second = one_run(
        replace(recipe, model=str(unrefined)),
        own,
        first.device,
        interruption,
        [f"box refinement: {recipe.steps} steps"],
    )
    if second is None:
        return False
    before, after = first.state.best, second.state.best
    if before is not None and after is not None and after < before:
        first.display.say(f"the box refinement did not help (AP {after:.3f}, {before:.3f} before): it is left out")
    elif rank() == 0:
        publish(folder, output)
    return True


def publish(folder: Path, output: Path) -> None:
    """Put a refined model in the place of what it was made from."""
    for name in (MODEL, BEST):
        if (folder / name).exists():
            part = output / f".{name}.part"
            shutil.copyfile(folder / name, part)
            part.replace(output / name)


def made_plan(request: Request, surroundings: RunOptions, device: torch.device) -> tuple[Plan, list[str]]:
    """The plan that a run began with, or a new one; and what a person should know of it."""
    start, new_classes = fitted_start(request, surroundings)
    decided = Decisions.read(surroundings.output)
    if decided is None:
        decided = gathered(decide(request, start, new_classes, surroundings, device))[0]
        if rank() == 0 and request.labelled_images:
            decided.write(surroundings.output)
    planned = decided.plan(request, start.config)
    return planned, description(request, planned, decided)


def fitted_start(request: Request, surroundings: RunOptions) -> tuple[StartingPoint, tuple[str, ...]]:
    """The model to start from with a head for the data's classes, and the names of those that it does not know."""
    labels = class_names(request.data, surroundings.annotations)
    checkpoint = surroundings.output / CHECKPOINT
    if checkpoint.exists():
        start = resting_point(read_state(checkpoint))
    else:
        start = starting_point(request.model, surroundings.cache_dir)
    new = tuple(label for label in labels if label not in start.config.labels)
    return relabelled(start, labels), new
