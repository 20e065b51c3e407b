"""From what a person asks for to a plan: recipes with every setting filled in, and what was known when it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from models.training.data.training_data import PAGES
from models.training.plan.curriculum import Curriculum, Stage
from models.training.plan.recipe import (
    BATCH_SIZE,
    PAGE_STAGES,
    Hybrid,
    Recipe,
    fine_tuning,
    for_refinement,
    from_nothing,
    growing,
    learning_anew,
)
from models.training.plan.schedule import Schedule
from models.training.plan.survey import Survey
from models.training.starting_point import SCRATCH

PAGE_SIDES: Final = (336, 368)
"""Shortest sides, in pixels, of pages that a model is fine-tuned on: about what pages-small is served at."""

REFINEMENT_SHARE: Final = 0.15
"""Steps of the box refinement after a run, as a share of the run's."""

ANEW_STEPS: Final = 600
FINE_TUNING_STEPS: Final = 150
"""Default steps of a run, times the root of an epoch's steps: few images are gone through often, many less often."""

MIN_REFINEMENT: Final = 20
"""A box refinement that would learn in fewer steps is left as it is."""


@dataclass(frozen=True, slots=True)
class Length:
    """Length of a run: in steps, in passes over the data, in minutes or, for pages, in stages; at most one of them.

    Without any, a page detector is trained from nothing as the embedded one was, and labelled images are gone
    through as often as their number asks for.
    """

    steps: int | None = None
    epochs: int | None = None
    stages: str | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.steps, self.epochs, self.stages, self.minutes)) > 1:
            raise ValueError("give one of steps, epochs, minutes and stages")


@dataclass(frozen=True, slots=True)
class Request:
    """A person's wishes for a run: the model to start from, the data, and settings of the recipe by field.

    None in `changes` leaves a setting to the plan. `refine_boxes`: only the box refinement is trained.
    `refinement_steps` of it follow the run; None: as the plan has it.
    """

    model: str
    data: str
    length: Length = field(default_factory=Length)
    changes: Mapping[str, Any] = field(default_factory=dict)
    refine_boxes: bool = False
    refinement_steps: int | None = None

    @property
    def labelled_images(self) -> bool:
        """Whether it learns from a folder of labelled images, and from a model that has weights."""
        return self.data != PAGES and not self.model.endswith(SCRATCH) and not self.refine_boxes


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, and the training of the box refinement that follows it, if any."""

    recipe: Recipe
    refinement: Recipe | None = None


def plan(request: Request, survey: Survey, shortest_side: int) -> Plan:
    """Fill in a recipe: what is known of data and model gives the defaults, the person's changes come after.

    `shortest_side` in pixels is the model's own. The refinement's `model` is still the one to start from: the run
    gives it its own. A length in minutes must have become steps. Raises ValueError for what does not fit together.
    """
    scratch = request.model.endswith(SCRATCH)
    if scratch and request.refine_boxes:
        raise ValueError("a model without weights has no boxes to refine: train it first")
    given = {name: value for name, value in request.changes.items() if value is not None}
    page_stages = _page_stages(request.data, request.length, scratch)
    anew = request.labelled_images and survey.far and "distillation" not in given
    steps = page_stages.steps if page_stages else image_steps(request, survey)
    if anew:
        base = learning_anew(request.model, request.data, steps, shortest_side)
    else:
        make = from_nothing if scratch else for_refinement if request.refine_boxes else fine_tuning
        base = replace(make(request.model, request.data, steps), stages=page_stages)
    schedule = _schedule(base.schedule, given.pop("schedule", None), given.pop("warmup_steps", None))
    if "hybrid" in given:
        given["hybrid"] = Hybrid() if given["hybrid"] else None
    recipe = replace(base, schedule=schedule, **given)
    wanted = survey.refines_boxes and request.labelled_images and recipe.distillation is None
    return Plan(recipe, _refinement(request, recipe, shortest_side, wanted))


def image_steps(request: Request, survey: Survey) -> int:
    """Steps of a run on labelled images."""
    length, batch_size = request.length, request.changes.get("batch_size") or BATCH_SIZE
    if length.steps is not None:
        return length.steps
    if survey.images is None or length.minutes is not None:
        raise ValueError("give the length of the run: steps or epochs")
    an_epoch = -(-survey.images // batch_size)
    if length.epochs is not None:
        return length.epochs * an_epoch
    return round((ANEW_STEPS if survey.far else FINE_TUNING_STEPS) * math.sqrt(an_epoch))


def _refinement(request: Request, recipe: Recipe, shortest_side: int, wanted: bool) -> Recipe | None:
    """The box refinement's training after a run, on the run's data, batches and seed."""
    steps = request.refinement_steps
    if steps is None:
        steps = round(REFINEMENT_SHARE * recipe.steps) if wanted else 0
        steps = 0 if steps < MIN_REFINEMENT else steps
    if not steps:
        return None
    if request.data == PAGES:
        stages = Curriculum((Stage(steps, PAGE_SIDES),))
    else:
        stages = growing(steps, shortest_side, ((1.0, 0.82, 1.05),))
    same = {name: getattr(recipe, name) for name in ("batch_size", "precision", "flip", "colour", "seed")}
    return replace(for_refinement(recipe.model, recipe.data, steps), stages=stages, **same)


def _page_stages(data: str, length: Length, scratch: bool) -> Curriculum | None:
    if data != PAGES:
        if length.stages is not None:
            raise ValueError("stages are only for generated pages")
        return None
    if length.epochs is not None:
        raise ValueError("generated pages have no end, and so no epochs: give steps or stages")
    if length.steps is not None:
        return Curriculum((Stage(length.steps, PAGE_SIDES),))
    if length.stages is None and not scratch:
        raise ValueError("give the length of the run: steps or stages")
    return Curriculum.parse(length.stages or PAGE_STAGES)


def _schedule(base: Schedule, shape: Any, warmup_steps: int | None) -> Schedule:
    return replace(
        base, shape=shape or base.shape, warmup_steps=base.warmup_steps if warmup_steps is None else warmup_steps
    )
