"""From what a person asks for to a recipe with every setting filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from models.training.curriculum import Curriculum, Stage
from models.training.recipe import BATCH_SIZE, PAGE_STAGES, Recipe, for_refinement, from_nothing
from models.training.schedule import Schedule
from models.training.starting_point import SCRATCH
from models.training.training_data import PAGES, image_count

PAGE_SIDES: Final = (336, 368)
"""Shortest sides, in pixels, of pages that a model is fine-tuned on: about what pages-small is served at."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run is: in steps, in passes over the data, or, for pages, in stages; at most one of them.

    Without any, a page detector is trained from nothing as the embedded one was; other runs must be told.
    """

    steps: int | None = None
    epochs: int | None = None
    stages: str | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.steps, self.epochs, self.stages)) > 1:
            raise ValueError("give one of steps, epochs and stages")


def plan(model: str, data: str, length: Length, changes: Mapping[str, Any], refine_boxes: bool = False) -> Recipe:
    """A recipe: DETR's for fine-tuning or the embedded model's from nothing, with a person's `changes` by field.

    `refine_boxes`: the embedded model's for its box refinement.

    `schedule` changes the shape of the learning rate's fall, `warmup_steps` its rise. What is None stays as it
    is. Raises ValueError for what does not fit together, OSError and ValueError for data that cannot be used.
    """
    scratch = model.endswith(SCRATCH)
    if scratch and refine_boxes:
        raise ValueError("a model without weights has no boxes to refine: train it first")
    stages = _stages(data, length, scratch)
    steps = stages.steps if stages else _steps(data, length, changes.get("batch_size") or BATCH_SIZE)
    make = from_nothing if scratch else for_refinement if refine_boxes else Recipe
    base = make(model, data, steps)
    given = {name: value for name, value in changes.items() if value is not None}
    schedule = _schedule(base.schedule, given.pop("schedule", None), given.pop("warmup_steps", None))
    return replace(base, stages=stages, schedule=schedule, **given)


def _stages(data: str, length: Length, scratch: bool) -> Curriculum | None:
    if data != PAGES:
        if length.stages is not None:
            raise ValueError("stages are for generated pages alone")
        return None
    if length.epochs is not None:
        raise ValueError("generated pages have no end, and so no epochs: give steps or stages")
    if length.steps is not None:
        return Curriculum((Stage(length.steps, PAGE_SIDES),))
    if length.stages is None and not scratch:
        raise ValueError("give the length of the run: steps or stages")
    return Curriculum.parse(length.stages or PAGE_STAGES)


def _steps(data: str, length: Length, batch_size: int) -> int:
    """Steps of a run on a folder of images."""
    if length.steps is not None:
        return length.steps
    images = image_count(data)
    if length.epochs is None or images is None:
        raise ValueError("give the length of the run: steps or epochs")
    return length.epochs * -(-images // batch_size)


def _schedule(base: Schedule, shape: Any, warmup_steps: int | None) -> Schedule:
    return replace(
        base, shape=shape or base.shape, warmup_steps=base.warmup_steps if warmup_steps is None else warmup_steps
    )
