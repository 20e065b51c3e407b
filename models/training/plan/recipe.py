"""How a run trains: everything that decides which weights come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum, Stage
from models.training.plan.schedule import Schedule

Precision = Literal["fp32", "bf16"]
OptimizerName = Literal["adamw", "muon"]

BATCH_SIZE: Final = 8

PAGE_STAGES: Final = "1700:192-224,3200:256-304,500:336-368"
"""The page sizes that a page detector learns from nothing on."""


GROWTH: Final = ((0.55, 0.5, 0.64), (0.85, 0.64, 0.85), (1.0, 0.82, 1.05))
"""Until which share of a run the shortest sides lie between which shares of the model's own."""

MIN_SIDE: Final = 32


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Supervision that is gone at inference: one-to-many queries and a dense head (`TrainingDetr`)."""

    extra_queries: int = 160
    repeats: int = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults are DETR's for fine-tuning.

    `steps` of `batch_size` images, over all processes; `learning_rate` is the peak rate, `backbone_rate` the
    backbone's; `optimizer` moves the transformer's matrices, AdamW the rest; `clip_norm` the maximum norm of a
    gradient; `ema_decay` that of the averaged weights, which are what is evaluated and served. `learn_norms`: the
    backbone's batch norms learn too, instead of keeping the statistics of the data that the model comes from.
    `drop_refinement`: the model's box refinement is left out, since it knows other features than will be learnt.
    `model` and `data` are what the person asked for. `refine_boxes`: only the box refinement learns. `stages`: which
    image sizes come when; None: the model's own all the time. `flip` and `colour` are for labelled images, not for
    generated pages. Raises ValueError for values out of range.
    """

    model: str
    data: str
    steps: int
    batch_size: int = BATCH_SIZE
    learning_rate: float = 1e-4
    backbone_rate: float = 1e-5
    weight_decay: float = 1e-4
    optimizer: OptimizerName = "adamw"
    clip_norm: float = 0.1
    schedule: Schedule = field(default_factory=Schedule)
    ema_decay: float = 0.999
    precision: Precision = "fp32"
    freeze_backbone: bool = False
    learn_norms: bool = False
    drop_refinement: bool = False
    hybrid: Hybrid | None = None
    distillation: Distillation | None = None
    refine_boxes: bool = False
    stages: Curriculum | None = None
    flip: bool = True
    colour: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError("a run needs at least one step, of at least one image")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"the averaged weights' decay must be at least 0 and below 1, not {self.ema_decay}")
        if min(self.learning_rate, self.backbone_rate, self.weight_decay) < 0 or self.clip_norm <= 0:
            raise ValueError("rates and weight decay must not be negative, and gradients be clipped at above 0")
        if not 0 <= self.colour < 1:
            raise ValueError(f"colour must be at least 0 and below 1, not {self.colour}")
        if self.stages is not None and self.stages.steps != self.steps:
            raise ValueError(f"the stages have {self.stages.steps} steps, the run {self.steps}")
        if self.refine_boxes and (self.hybrid or self.distillation):
            raise ValueError("the box refinement learns by itself: train or distil the model first, then refine")

    def settings(self) -> dict[str, Any]:
        """Every setting by name, as plain values."""
        nested = ("schedule", "hybrid", "distillation", "stages")
        plain = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in nested}
        hybrid, distillation = self.hybrid, self.distillation
        return plain | {
            "schedule": self.schedule.shape,
            "warmup_steps": self.schedule.warmup_steps,
            "hybrid": hybrid and f"{hybrid.extra_queries} queries, {hybrid.repeats} an object",
            "distil": distillation and str(distillation.attention),
            "distil_weight": distillation and distillation.weight,
            "distil_layers": distillation and distillation.layers,
            "distil_distance": distillation and distillation.distance,
            "stages": self.stages and str(self.stages),
        }


def from_nothing(model: str, data: str, steps: int) -> Recipe:
    """How the embedded model was made: hybrid matching, one rate for all weights, warm-up and cosine."""
    return Recipe(
        model,
        data,
        steps,
        learning_rate=3e-4,
        backbone_rate=3e-4,
        clip_norm=1.0,
        schedule=Schedule("cosine", warmup_steps=400),
        ema_decay=0.998,
        learn_norms=True,
        hybrid=Hybrid(),
    )


def fine_tuning(model: str, data: str, steps: int) -> Recipe:
    """DETR's, for images like those that the model comes from."""
    return Recipe(model, data, steps, ema_decay=averaging_decay(steps))


def learning_anew(model: str, data: str, steps: int, shortest_side: int) -> Recipe:
    """For images unlike those that the model comes from: all of it has to move, and far, in few steps.

    Small images come first, up to the model's own `shortest_side` in pixels. `docs/training.md` has what each part
    of it brings.
    """
    return Recipe(
        model,
        data,
        steps,
        learning_rate=6e-4,
        backbone_rate=4e-4,
        optimizer="muon",
        clip_norm=1.0,
        schedule=Schedule("wsd", warmup_steps=min(20, steps)),
        ema_decay=averaging_decay(steps),
        learn_norms=True,
        drop_refinement=True,
        hybrid=Hybrid(),
        stages=growing(steps, shortest_side),
        colour=0.2,
    )


def for_refinement(model: str, data: str, steps: int) -> Recipe:
    """How the embedded model's box refinement was made."""
    return Recipe(
        model,
        data,
        steps,
        learning_rate=1.5e-3,
        clip_norm=1.0,
        schedule=Schedule("wsd", warmup_steps=min(30, steps)),
        ema_decay=averaging_decay(steps),
        refine_boxes=True,
    )


def averaging_decay(steps: int) -> float:
    """Decay of the averaged weights: they remember a thirtieth of a run, at most a thousand steps.

    Averages that remember more still hold what the model was at the start.
    """
    return 1 - 1 / min(1000, max(2, steps / 30))


def growing(steps: int, shortest_side: int, growth: Sequence[tuple[float, float, float]] = GROWTH) -> Curriculum:
    """Stages of a run: small images, which cost little, for most of the steps, the model's own size at the end."""
    stages, done = [], 0
    for until, low, high in growth:
        last = steps if until == 1 else min(round(until * steps), steps - 1)  # the last stage has a step at least
        if last > done:
            sides = (max(MIN_SIDE, round(low * shortest_side)), max(MIN_SIDE, round(high * shortest_side)))
            stages.append(Stage(last - done, sides))
            done = last
    return Curriculum(tuple(stages))


def conflicts(recipe: Recipe, started: dict[str, Any]) -> list[str]:
    """Say which settings a run that goes on would change, by the settings that it was started with."""
    wanted = recipe.settings()
    # Runs begun before there were these settings go on.
    added = {"refine_boxes": False, "learn_norms": wanted["learn_norms"], "drop_refinement": False, "colour": 0.0}
    started = added | started
    return [
        f"{name} was {started.get(name)}, not {value}"
        for name, value in wanted.items()
        if name != "data" and started.get(name) != value  # data may have moved
    ]
