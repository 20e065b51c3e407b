"""How a run trains: everything that decides which weights come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from models.training.curriculum import Curriculum
from models.training.distillation import Distillation
from models.training.schedule import Schedule

Precision = Literal["fp32", "bf16"]
OptimizerName = Literal["adamw", "muon"]

BATCH_SIZE: Final = 8

PAGE_STAGES: Final = "1700:192-224,3200:256-304,500:336-368"
"""The page sizes that a page detector learns from nothing on."""


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Supervision that is gone at inference: one-to-many queries and a dense head (`HybridDetr`)."""

    extra_queries: int = 160
    repeats: int = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults are DETR's for fine-tuning.

    `steps` of `batch_size` images, over all processes; `learning_rate` is the peak rate, `backbone_rate` the
    backbone's; `optimizer` moves the transformer's matrices, AdamW the rest; `clip_norm` the greatest norm of a
    gradient; `ema_decay` that of the averaged weights, which are what is evaluated and served. `model` and `data`
    are what the person asked for. `refine_boxes`: the box refinement learns, and nothing else. `stages` is for
    generated pages alone; `flip` for other data. Raises ValueError for values out of range.
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
    hybrid: Hybrid | None = None
    distillation: Distillation | None = None
    refine_boxes: bool = False
    stages: Curriculum | None = None
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError("a run needs at least one step, of at least one image")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"the averaged weights' decay must be at least 0 and below 1, not {self.ema_decay}")
        if min(self.learning_rate, self.backbone_rate, self.weight_decay) < 0 or self.clip_norm <= 0:
            raise ValueError("rates and weight decay must not be negative, and gradients be clipped at above 0")
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
        hybrid=Hybrid(),
    )


def for_refinement(model: str, data: str, steps: int) -> Recipe:
    """How the embedded model's box refinement was made."""
    return Recipe(
        model,
        data,
        steps,
        learning_rate=1.5e-3,
        clip_norm=1.0,
        schedule=Schedule("wsd", warmup_steps=30),
        ema_decay=0.998,
        refine_boxes=True,
    )


def conflicts(recipe: Recipe, started: dict[str, Any]) -> list[str]:
    """Say which settings a run that goes on would change, by the settings that it was started with."""
    wanted = recipe.settings()
    started = {"refine_boxes": False} | started  # runs begun before there was a box refinement go on
    return [
        f"{name} was {started.get(name)}, not {value}"
        for name, value in wanted.items()
        if name != "data" and started.get(name) != value  # data may have moved
    ]
