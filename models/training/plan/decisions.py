"""Decisions behind a plan, kept in the run's folder: timing a machine again would give other ones."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import torch

from models.config import DetrConfig
from models.detector import Detector
from models.training.data.training_data import TrainingData
from models.training.plan.pace import Cost, Pace, pace
from models.training.plan.planning import REFINEMENT_SHARE, Plan, Request, plan
from models.training.plan.recipe import Recipe
from models.training.plan.survey import SURVEYED, Survey, survey_of
from models.training.processes import ranks
from models.training.run import VALIDATIONS, RunOptions
from models.training.starting_point import StartingPoint, with_box_refinement
from models.weights import load_strict
from models.whole_file import whole_file

PLAN: Final = "plan.json"
DRAFT: Final = 1000
"""Steps of the draft that is timed to find the number of steps that fit."""
TIMED: Final = 3
"""Images of a validation that are timed."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The survey of a run's data, and the `steps` that its minutes were turned into; None: by the other settings.

    `seconds` is the time that the run was expected to take.
    """

    survey: Survey
    steps: int | None = None
    seconds: float | None = None

    def plan(self, request: Request, config: DetrConfig) -> Plan:
        """The plan that follows from the decisions and from what was asked for."""
        if self.steps is not None:
            request = replace(request, settings=request.settings.updated(steps=self.steps))
        return plan(request, self.survey, config)

    def write(self, output: Path) -> None:
        """Write them into a run's folder, for the run that goes on and for people."""
        with whole_file(output / PLAN) as part:
            part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, output: Path) -> Decisions | None:
        """Read those that a run began with; None where there are none. Raises ValueError for a damaged file."""
        path = output / PLAN
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            survey = values.pop("survey")
            return cls(Survey(**survey | {"new_classes": tuple(survey["new_classes"])}), **values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error!r}; a new --output starts from scratch") from error


def decide(
    request: Request,
    start: StartingPoint,
    new_classes: tuple[str, ...],
    data: TrainingData,
    options: RunOptions,
    device: torch.device,
) -> Decisions:
    """Look at data, model and machine. Raises OSError and ValueError for data that cannot be used."""
    began = time.perf_counter()
    settings = request.settings
    if data.images is None or not request.labelled_images:
        if settings.minutes is not None:
            raise ValueError("a length in minutes is for labelled images and a model that has weights")
        return Decisions(Survey(data.image_count, new_classes, None, start.config.queries))
    probe = Recipe(request.model, request.data, 1, seed=settings.seed or 0)
    stream = data.stream(probe, start.config)
    batches = [stream.batch(step) for step in range(-(-SURVEYED // probe.batch_size))]
    survey = survey_of(data.images, batches, start, new_classes)
    draft = Decisions(survey, None if settings.minutes is None else DRAFT).plan(request, start.config)
    cost = cost_of(draft, start, data, options, device, began)
    refining = draft.refinement.steps if draft.refinement else 0
    validations = VALIDATIONS + 2 if cost.validation else 0
    if settings.minutes is None:
        return Decisions(survey, None, cost.seconds(draft.recipe.steps, refining, validations))
    steps = cost.steps_within(60 * settings.minutes, REFINEMENT_SHARE if refining else 0.0, validations)
    final = Decisions(survey, steps).plan(request, start.config)
    refining = final.refinement.steps if final.refinement else 0
    return Decisions(survey, steps, cost.seconds(steps, refining, validations))


def cost_of(
    draft: Plan, start: StartingPoint, data: TrainingData, options: RunOptions, device: torch.device, began: float
) -> Cost:
    """Time a plan's parts on this machine, on copies of the model."""

    def pace_of(recipe: Recipe, own: StartingPoint) -> Pace:
        return pace(own, recipe, data.stream(recipe, own.config), device, options.workers)

    run = pace_of(draft.recipe, replace(start, learn_norms=draft.recipe.learn_norms))
    refinement = pace_of(draft.refinement, with_box_refinement(start)) if draft.refinement else None
    return Cost(run, refinement, _validation_seconds(start, data, device), time.perf_counter() - began)


def _validation_seconds(start: StartingPoint, data: TrainingData, device: torch.device) -> float:
    """Seconds of one validation; 0 where there is none."""
    if data.held_out is None or start.weights is None:
        return 0.0
    detr = start.detr()
    load_strict(detr, start.weights)
    detector = Detector(detr, str(device))
    detector.detect(data.held_out[0].image)
    timed = min(TIMED, len(data.held_out))
    began = time.perf_counter()
    for index in range(timed):
        detector.detect(data.held_out[index].image)
    return (time.perf_counter() - began) / timed * len(data.held_out) / ranks()
