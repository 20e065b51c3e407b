"""Make a plan of a request: recipes with every setting filled in, from what is known of data and model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

from models.config import DetrConfig
from models.training.data.training_data import PAGES
from models.training.objective.distillation import WEIGHTS, Distillation
from models.training.plan.curriculum import Curriculum, Stage
from models.training.plan.recipe import (
    BATCH_SIZE,
    PAGE_STAGES,
    Hybrid,
    Recipe,
    fine_tuning,
    for_refinement,
    for_unlike_images,
    from_scratch,
    growing,
)
from models.training.plan.recipe_file import DistillationSettings, RecipeSettings
from models.training.plan.schedule import Schedule
from models.training.plan.survey import Survey
from models.training.starting_point import SCRATCH

PAGE_SIDES: Final = (336, 368)
"""Shortest sides, in pixels, of pages that a model is fine-tuned on: about what pages-small is served at."""

REFINEMENT_SHARE: Final = 0.15
"""Steps of the box refinement after a run, as a share of the run's."""

UNLIKE_STEPS: Final = 600
FINE_TUNING_STEPS: Final = 150
"""Default steps of a run, times the root of an epoch's steps: more passes over few images than over many."""

MIN_REFINEMENT: Final = 20
"""A box refinement that would learn in fewer steps is left as it is."""

OWN_RULES: Final = ("steps", "stages", "schedule", "hybrid", "distillation", "second_attention")
"""Settings that become a recipe's in their own way; all others of the same name are taken as they are."""


@dataclass(frozen=True, slots=True)
class Request:
    """A run as a person asks for it: the model to start from, the data, and settings of the recipe."""

    model: str
    data: str
    settings: RecipeSettings = field(default_factory=RecipeSettings)

    @property
    def from_scratch(self) -> bool:
        """Whether the model has no weights yet."""
        return self.model.endswith(SCRATCH)

    @property
    def labelled_images(self) -> bool:
        """Whether it learns from a folder of labelled images, and from a model that has weights."""
        return self.data != PAGES and not self.from_scratch and not self.settings.refine_boxes


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, and the training of the box refinement that follows it, if any."""

    recipe: Recipe
    refinement: Recipe | None = None


def plan(request: Request, survey: Survey, config: DetrConfig) -> Plan:
    """Fill in a recipe: the data and the model's `config` give the defaults, the request's settings come after.

    The refinement's `model` is still the one to start from: the run gives it its own. A length in minutes must have
    become steps. Raises ValueError for settings that contradict each other.
    """
    settings = request.settings
    if request.from_scratch and settings.refine_boxes:
        raise ValueError("a model without weights has no boxes to refine: train it first")
    distillation = _distillation(settings.distillation, config)
    unlike = request.labelled_images and survey.far and distillation is None
    stages = _stages(request)
    steps = stages.steps if stages else image_steps(request, survey)
    if unlike:
        base = for_unlike_images(request.model, request.data, steps, config.shortest_side)
    elif request.from_scratch:
        base = from_scratch(request.model, request.data, steps)
    else:
        base = (for_refinement if settings.refine_boxes else fine_tuning)(request.model, request.data, steps)
    given = {
        name: value
        for name, value in settings
        if name in Recipe.__dataclass_fields__ and name not in OWN_RULES and value is not None
    }
    hybrid = base.hybrid if settings.hybrid is None else Hybrid() if settings.hybrid else None
    recipe = replace(
        base,
        stages=stages or base.stages,
        schedule=_schedule(base.schedule, settings),
        hybrid=hybrid,
        distillation=distillation,
        second_attention=None if settings.second_attention is None else config.attention(settings.second_attention),
        **given,
    )
    return Plan(recipe, _refinement(request, recipe, config.shortest_side, survey.refines_boxes))


def image_steps(request: Request, survey: Survey) -> int:
    """Steps of a run on labelled images."""
    settings = request.settings
    if settings.steps is not None:
        return settings.steps
    if survey.images is None or settings.minutes is not None:
        raise ValueError("give the length of the run: steps or epochs")
    steps_per_epoch = -(-survey.images // (settings.batch_size or BATCH_SIZE))
    if settings.epochs is not None:
        return settings.epochs * steps_per_epoch
    return round((UNLIKE_STEPS if survey.far else FINE_TUNING_STEPS) * math.sqrt(steps_per_epoch))


def _stages(request: Request) -> Curriculum | None:
    """The image sizes that a person asks for, or that pages need; None: as the recipe has it."""
    settings = request.settings
    if settings.stages is not None:
        return Curriculum.parse(settings.stages)
    if request.data != PAGES:
        return None
    if settings.epochs is not None:
        raise ValueError("generated pages have no end, and so no epochs: give steps or stages")
    if settings.steps is not None:
        return Curriculum((Stage(settings.steps, PAGE_SIDES),))
    if not request.from_scratch:
        raise ValueError("give the length of the run: steps or stages")
    return Curriculum.parse(PAGE_STAGES)


def _schedule(base: Schedule, settings: RecipeSettings) -> Schedule:
    warmup_steps = base.warmup_steps if settings.warmup_steps is None else settings.warmup_steps
    return replace(base, shape=settings.schedule or base.shape, warmup_steps=warmup_steps)


def _distillation(settings: DistillationSettings | None, config: DetrConfig) -> Distillation | None:
    """The distillation that a person asks for; an L, r or C that is left out is the model's own."""
    if settings is None:
        return None
    distance = settings.distance or "squared"
    weight = WEIGHTS[distance] if settings.weight is None else settings.weight
    return Distillation(config.attention(settings.attention), weight, settings.layers or "all", distance)


def _refinement(request: Request, recipe: Recipe, shortest_side: int, model_refines: bool) -> Recipe | None:
    """The box refinement's training after a run, on the run's data, batches and seed."""
    steps = request.settings.refinement_steps
    if steps is None:
        by_itself = model_refines and request.labelled_images and recipe.distillation is None
        steps = round(REFINEMENT_SHARE * recipe.steps) if by_itself else 0
        steps = 0 if steps < MIN_REFINEMENT else steps
    if not steps:
        return None
    if request.data == PAGES:
        stages = Curriculum((Stage(steps, PAGE_SIDES),))
    else:
        stages = growing(steps, shortest_side, ((1.0, 0.82, 1.05),))
    same = {name: getattr(recipe, name) for name in ("batch_size", "precision", "flip", "colour", "seed")}
    return replace(for_refinement(recipe.model, recipe.data, steps), stages=stages, **same)
