"""Decisions behind a plan, and how a run remembers them: timing a machine again would give other ones."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import torch

from models.config import DetrConfig
from models.detector import Detector
from models.training.data.coco_dataset import CocoDataset
from models.training.data.training_data import coco_stream, image_count, open_dataset
from models.training.plan.pace import Cost, Pace, pace
from models.training.plan.planning import REFINEMENT_SHARE, Length, Plan, Request, plan
from models.training.plan.recipe import Recipe
from models.training.plan.survey import Survey, survey_of
from models.training.processes import ranks
from models.training.run import VALIDATIONS, RunOptions
from models.training.starting_point import StartingPoint, with_box_refinement
from models.weights import load_strict

PLAN: Final = "plan.json"
DRAFT: Final = 1000
"""Steps of the draft whose time is taken to find out how many fit."""
SAMPLED: Final = 3
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
            request = replace(request, length=Length(steps=self.steps))
        return plan(request, self.survey, config.shortest_side)

    def write(self, output: Path) -> None:
        """Write them into a run's folder, for the run that goes on and for people."""
        part = output / f".{PLAN}.part"
        part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        part.replace(output / PLAN)

    @classmethod
    def read(cls, output: Path) -> Decisions | None:
        """Those that a run began with; None where there are none. Raises ValueError for a damaged file."""
        path = output / PLAN
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            survey = values.pop("survey")
            return cls(Survey(**survey | {"new_classes": tuple(survey["new_classes"])}), **values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error!r}; a new --output begins anew") from error


def decide(
    request: Request,
    start: StartingPoint,
    new_classes: tuple[str, ...],
    surroundings: RunOptions,
    device: torch.device,
) -> Decisions:
    """Look at data, model and machine. Raises OSError and ValueError for data that cannot be used."""
    began = time.perf_counter()
    if not request.labelled_images:
        if request.length.minutes is not None:
            raise ValueError("a length in minutes is for labelled images and a model that has weights")
        images = image_count(request.data, surroundings.annotations)
        return Decisions(Survey(images, new_classes, None, start.config.queries))
    probe = Recipe(request.model, request.data, 1, seed=request.changes.get("seed") or 0)
    dataset = open_dataset(request.data, start.config, surroundings.annotations)
    survey = survey_of(coco_stream(dataset, probe, start.config), start, new_classes)
    minutes = request.length.minutes
    draft = Decisions(survey, DRAFT if minutes is not None else None).plan(request, start.config)
    cost = cost_of(draft, start, dataset, surroundings, device, began)
    refining = draft.refinement.steps if draft.refinement else 0
    validations = VALIDATIONS + 2 if cost.validation else 0
    if minutes is None:
        return Decisions(survey, None, cost.seconds(draft.recipe.steps, refining, validations))
    steps = cost.steps_within(60 * minutes, REFINEMENT_SHARE if refining else 0.0, validations)
    final = Decisions(survey, steps).plan(request, start.config)
    refining = final.refinement.steps if final.refinement else 0
    return Decisions(survey, steps, cost.seconds(steps, refining, validations))


def cost_of(
    draft: Plan,
    start: StartingPoint,
    dataset: CocoDataset,
    surroundings: RunOptions,
    device: torch.device,
    began: float,
) -> Cost:
    """Take the time of a plan's parts on this machine, on copies of the model."""

    def of(recipe: Recipe, own: StartingPoint) -> Pace:
        return pace(own, recipe, coco_stream(dataset, recipe, own.config), device, surroundings.workers)

    run = of(draft.recipe, replace(start, learn_norms=draft.recipe.learn_norms))
    refinement = of(draft.refinement, with_box_refinement(start)) if draft.refinement else None
    validation = _validation_seconds(draft.recipe, start, surroundings, device)
    return Cost(run, refinement, validation, time.perf_counter() - began)


def _validation_seconds(recipe: Recipe, start: StartingPoint, surroundings: RunOptions, device: torch.device) -> float:
    """Seconds of one validation; 0 where there is none."""
    held_out = None if surroundings.eval_every == 0 else surroundings.open_held_out(recipe, start.config)
    if held_out is None or start.weights is None:
        return 0.0
    detr = start.detr()
    load_strict(detr, start.weights)
    detector = Detector(detr, str(device))
    detector.detect(held_out.sample(0)[0])
    began = time.perf_counter()
    for place in range(min(SAMPLED, len(held_out))):
        detector.detect(held_out.sample(place)[0])
    return (time.perf_counter() - began) / min(SAMPLED, len(held_out)) * len(held_out) / ranks()
