"""The recipe of a run: everything that decides which weights come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from models.attention_config import AttentionConfig
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum, Stage
from models.training.plan.schedule import Schedule

Precision = Literal["fp32", "bf16"]
OptimizerName = Literal["adamw", "muon"]

BATCH_SIZE: Final = 8

PAGE_STAGES: Final = "1700:192-224,3200:256-304,500:336-368"
"""The page sizes that a page detector learns from scratch on."""

GROWTH: Final = ((0.55, 0.5, 0.64), (0.85, 0.64, 0.85), (1.0, 0.82, 1.05))
"""Until which share of a run the shortest sides lie between which shares of the model's own."""

MIN_SIDE: Final = 32


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Supervision in training only: one-to-many queries and a dense head (`TrainingDetr`)."""

    extra_queries: int = 160
    repeats: int = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every setting of a run, filled in; the defaults are DETR's for fine-tuning.

    `model` and `data` are what the person asked for. `recipe_file.RecipeSettings` has the meaning of the others, and
    their ranges. `hybrid`, `distillation` and `second_attention` are None where they are off; `stages` is None for the
    model's own image sizes throughout. Raises ValueError for settings that contradict each other.
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
    freeze_encoder: bool = False
    learn_norms: bool = False
    drop_refinement: bool = False
    hybrid: Hybrid | None = None
    distillation: Distillation | None = None
    second_attention: AttentionConfig | None = None
    refine_boxes: bool = False
    stages: Curriculum | None = None
    flip: bool = True
    colour: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.stages is not None and self.stages.steps != self.steps:
            raise ValueError(f"the stages have {self.stages.steps} steps, the run {self.steps}: change one of them")
        if self.refine_boxes and (self.hybrid or self.distillation):
            raise ValueError("the box refinement learns by itself: train or distil the model first, then refine")
        if self.second_attention and (self.refine_boxes or self.distillation):
            raise ValueError("second_attention is for training the model itself, without distillation")
        if self.freeze_encoder and self.learn_norms:
            raise ValueError("freeze_encoder freezes the backbone too: its norms cannot learn")


def from_scratch(model: str, data: str, steps: int) -> Recipe:
    """Train as the embedded model was: hybrid matching, one rate for all weights, warm-up and cosine."""
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
    """Train as DETR is fine-tuned: for images like those that the model learnt on."""
    return Recipe(model, data, steps, ema_decay=averaging_decay(steps))


def for_unlike_images(model: str, data: str, steps: int, shortest_side: int) -> Recipe:
    """Train for images unlike those that the model learnt on: all of it has to move, and far, in few steps.

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
    """Train a box refinement as the embedded model's was."""
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
