"""All of `act-detr train`: make a plan, run it, train the box refinement after it, and write the report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from models.training.data.training_data import TrainingData
from models.training.interruption import Interruption
from models.training.plan.decisions import Decisions, decide
from models.training.plan.plan_text import description
from models.training.plan.planning import Plan, Request
from models.training.plan.recipe import Recipe
from models.training.plan.recipe_file import RECIPE, as_toml
from models.training.processes import gathered, rank
from models.training.run import BEST, CHECKPOINT, MODEL, Run, RunOptions
from models.training.run_report import write_report
from models.training.starting_point import StartingPoint, relabelled, starting_point
from models.training.train import one_run, training_process
from models.training.training_state import read_state, starting_point_from_checkpoint
from models.whole_file import whole_file

REFINEMENT = "refinement"
UNREFINED = "unrefined.safetensors"


def carry_out(request: Request, options: RunOptions) -> bool:
    """Train as a person asks, or resume what `output` holds. Returns False if asked to stop before the end.

    Raises as `models.training.train.train`, and ValueError for settings that contradict each other.
    """
    with training_process(options) as (device, interruption):
        data = options.open_data(request.data)
        planned, remarks = made_plan(request, options, data, device)
        if rank() == 0 and not (options.output / CHECKPOINT).exists():
            write_recipe(request, planned, options.output / RECIPE)
        first = one_run(planned.recipe, options, data, device, interruption, remarks)
        if first is None:
            return False
        if planned.refinement is not None and not refined(planned.refinement, first, interruption):
            return False
        if rank() == 0:
            write_report(options.output, REFINEMENT, data.held_out, first.display.say)
    return True


def refined(recipe: Recipe, first: Run, interruption: Interruption) -> bool:
    """Train the box refinement of the model that a run made, and serve it if it is better. False: asked to stop."""
    output = first.options.output
    unrefined, folder = output / UNREFINED, output / REFINEMENT
    folder.mkdir(exist_ok=True)
    if rank() == 0 and not unrefined.exists():
        copy_whole(output / (BEST if (output / BEST).exists() else MODEL), unrefined)
    gathered(None)  # until the file is there
    named = first.options.run.model_copy(update={"name": first.state.config.name})
    second = one_run(
        replace(recipe, model=str(unrefined)),
        replace(first.options, output=folder, run=named),
        first.data,
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
            copy_whole(folder / name, output / name)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file whole or not at all."""
    with whole_file(path) as part:
        shutil.copyfile(source, part)


def write_recipe(request: Request, planned: Plan, path: Path) -> None:
    """Write every setting of a plan as a recipe file, to be edited and passed again."""
    refinement_steps = planned.refinement.steps if planned.refinement else 0
    settings = request.settings.effective(planned.recipe, refinement_steps)
    with whole_file(path) as part:
        part.write_text(f"# {request.model} on {request.data}\n\n{as_toml(settings)}", encoding="utf-8")


def made_plan(
    request: Request, options: RunOptions, data: TrainingData, device: torch.device
) -> tuple[Plan, list[str]]:
    """The plan that a run began with, or a new one, and remarks on it."""
    start, new_classes = fitted_start(request, options, data)
    decided = Decisions.read(options.output)
    if decided is None:
        decided = gathered(decide(request, start, new_classes, data, options, device))[0]
        if rank() == 0 and request.labelled_images:
            decided.write(options.output)
    planned = decided.plan(request, start.config)
    return planned, description(request, planned, decided)


def fitted_start(request: Request, options: RunOptions, data: TrainingData) -> tuple[StartingPoint, tuple[str, ...]]:
    """The model to start from with a head for the data's classes, and the names of those that it does not know."""
    checkpoint = options.output / CHECKPOINT
    if checkpoint.exists():
        start = starting_point_from_checkpoint(read_state(checkpoint))
    else:
        start = starting_point(request.model, options.cache_dir)
    new = tuple(str(label) for label in data.classes if label not in start.config.labels)
    return relabelled(start, data.classes), new
