"""One training run: set up its process and its state, new or from a checkpoint, and hand them to `Run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from models.config import DetrConfig
from models.data.findings import few
from models.training.data.augmentations import Augmentation
from models.training.data.training_data import TrainingData
from models.training.interruption import Interruption, interruptible
from models.training.plan.recipe import Recipe
from models.training.plan.recipe_file import RECIPE, conflicts
from models.training.processes import joined
from models.training.run import CHECKPOINT, Run, RunOptions
from models.training.starting_point import (
    StartingPoint,
    relabelled,
    starting_point,
    with_box_refinement,
    without_box_refinement,
)
from models.training.training_state import TrainingState, read_state, starting_point_from_checkpoint


def train(recipe: Recipe, options: RunOptions) -> bool:
    """Run a recipe, or resume the run in `output`. Returns whether the end was reached: False if asked to stop.

    Raises ValueError for settings other than those that the run began with, NotFinite where the model fails, OSError
    and ValueError for data that cannot be used, WeightsError and KeyError for the model to start from.
    """
    with training_process(options) as (device, interruption):
        return one_run(recipe, options, options.open_data(recipe.data), device, interruption) is not None


@contextmanager
def training_process(options: RunOptions) -> Iterator[tuple[torch.device, Interruption]]:
    """Set up a process to train in: threads, output folder, the other processes, and signals that ask it to stop."""
    if options.run.threads is not None:
        torch.set_num_threads(options.run.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    with joined(options.device) as device, interruptible() as interruption:
        yield device, interruption


def one_run(
    recipe: Recipe,
    options: RunOptions,
    data: TrainingData,
    device: torch.device,
    interruption: Interruption,
    remarks: Sequence[str] = (),
) -> Run | None:
    """Make a run to its end; None if asked to stop before it. Raises as `train`."""
    state, more = prepare(recipe, options, data, device)
    run = Run(state, options, data, device)
    return run if run.to_the_end(interruption, [*remarks, *more]) else None


def prepare(
    recipe: Recipe, options: RunOptions, data: TrainingData, device: torch.device
) -> tuple[TrainingState, list[str]]:
    """The state to go on from, new or from the checkpoint, and remarks on it. Raises as `train`."""
    checkpoint = options.output / CHECKPOINT
    if checkpoint.exists():
        state = resumed(recipe, checkpoint, data.classes, device)
        return state, [f"going on after step {state.step} of {recipe.steps}"]
    torch.manual_seed(recipe.seed)  # new classes start at random
    start = starting_point(recipe.model, options.cache_dir)
    fitted = relabelled(start, data.classes)
    remarks = [f"starting from {recipe.model}", *head_remarks(start, fitted)]
    own_name = options.run.name or (start.config.name if fitted is start else options.output.resolve().name)
    if recipe.refine_boxes:
        fitted = with_box_refinement(fitted)
    elif recipe.drop_refinement:
        fitted = without_box_refinement(fitted)
    config = served_config(fitted.config, own_name, recipe)
    return TrainingState(replace(fitted, config=config, learn_norms=recipe.learn_norms), recipe, device), remarks


def resumed(recipe: Recipe, checkpoint: Path, labels: Sequence[str | None], device: torch.device) -> TrainingState:
    """The state in a checkpoint. Raises ValueError where it is of a run with other settings or classes."""
    saved = read_state(checkpoint)
    differing = conflicts(recipe, saved["recipe"])
    if differing:
        raise ValueError(
            f"{checkpoint} is of a run with other settings: {'; '.join(differing)}. Resume it with the {RECIPE} beside "
            "it, or give another --output"
        )
    start = starting_point_from_checkpoint(saved)
    if relabelled(start, labels) is not start:
        raise ValueError(f"{checkpoint} is of a run with other classes: {', '.join(map(str, start.config.labels))}")
    state = TrainingState(start, recipe, device)
    state.load(saved)
    return state


def served_config(config: DetrConfig, name: str, recipe: Recipe) -> DetrConfig:
    """The trained model's configuration: the ACT that it was distilled for becomes its default.

    It vouches for no attention: what was measured with other weights says nothing of these.
    """
    config = replace(config, name=name, vouched=(), trained_sides=trained_sides(config, recipe))
    distillation = recipe.distillation
    if distillation is None or distillation.attention.mode != "act":
        return config
    own = distillation.attention
    return replace(config, act_L=own.L, act_r=own.r, act_metric=own.metric)


def trained_sides(config: DetrConfig, recipe: Recipe) -> tuple[int, int] | None:
    """The least and the largest shortest side of the last stage's images; a box refinement leaves them as they are."""
    if recipe.refine_boxes:
        return config.trained_sides
    if recipe.stages is not None:
        return recipe.stages.stages[-1].shortest_sides
    sides = Augmentation.for_model(config).shortest_sides
    return sides[0], sides[-1]


def head_remarks(start: StartingPoint, fitted: StartingPoint) -> list[str]:
    """Say how the class head had to change."""
    if fitted is start:
        return []
    names = [str(label) for label in fitted.config.labels]
    known = [name for name in names if name in start.config.labels]
    fresh = [name for name in names if name not in known]
    kept = f", with the weights it had for {few(known)}" if known else ""
    new = f"; new: {few(fresh)}" if fresh else ""
    return [f"a class head for the data's {len(names)} classes{kept}{new}; all other weights are kept"]
