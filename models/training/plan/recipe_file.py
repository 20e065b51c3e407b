"""Recipe files: the settings of a run in TOML, read strictly, and written in full so that they can be used again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.attention_config import AttentionConfig
from models.training.objective.distillation import Distance, Distillation, Layers
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import OptimizerName, Precision, Recipe
from models.training.plan.schedule import Shape

RECIPE: Final = "recipe.toml"
LENGTHS: Final = ("steps", "epochs", "minutes")


def setting(meaning: str, default: str = "none", **limits: Any) -> Any:
    """A field that may be left out; `default` says in words what then follows from the data, for the documentation."""
    return Field(default=None, description=meaning, json_schema_extra={"default": default}, **limits)


class Section(BaseModel):
    """A table of a recipe file: unknown names and values of another type or range are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DistillationSettings(Section):
    """MTKD: make an approximate attention agree with exact attention."""

    attention: str = Field(
        description="attention to distil, `act:L=16,r=2` say; L, r and C are the model's own by default"
    )
    distance: Distance | None = setting(
        "distance between boxes: `squared` (the paper's) or `overlap` (ours)", "`squared`"
    )
    weight: float | None = setting("weight of the distance in the loss", "20; 1 for `overlap`", ge=0)
    layers: Layers | None = setting("decoder layers whose boxes are distilled: `all` or `last`", "`all`")

    @field_validator("attention")
    @classmethod
    def _known(cls, text: str) -> str:
        Distillation(AttentionConfig.parse(text))
        return text


class ValidationSettings(Section):
    """Validation in the course of the run."""

    data: str | None = setting("data to validate on: a COCO-format folder, or `pages`", "the data's validation split")
    images: int = Field(200, description="maximum number of images", ge=1)
    every: int | None = setting("steps between validations; 0: none", "a tenth of the run", ge=0)


class RunSettings(Section):
    """Settings that do not change the weights."""

    name: str | None = setting("name of the model", "the starting model's; the folder's for new classes")
    save_every: int = Field(100, description="steps between checkpoints", ge=1)
    log_every: int = Field(10, description="steps between logged losses", ge=1)
    threads: int | None = setting("CPU threads of each training process", "PyTorch's choice", ge=1)


class RecipeSettings(Section):
    """The settings of a run that a person gives; what is left out follows from the data and the model."""

    steps: int | None = setting("steps of the run", "150 √E for E steps an epoch; 600 √E for unlike images", ge=1)
    epochs: int | None = setting("passes over the data, instead of steps", ge=1)
    minutes: float | None = setting("time on this machine, instead of steps", ge=1)
    stages: str | None = setting(
        "`STEPS:LOW-HIGH,...`: image sizes by step, as ranges of the shortest side in pixels",
        "60 to 100 % of the model's size; growing for unlike images",
    )
    batch_size: int | None = setting("images per step, of all processes together", "8", ge=1)
    learning_rate: float | None = setting(
        "peak rate", "1e-4; 6e-4 for unlike images; 3e-4 from scratch; 1.5e-3 to refine boxes", ge=0
    )
    backbone_rate: float | None = setting(
        "peak rate of the backbone", "1e-5; 4e-4 for unlike images; 3e-4 from scratch", ge=0
    )
    weight_decay: float | None = setting("decay of the weights, times the rate", "1e-4", ge=0)
    optimizer: OptimizerName | None = setting(
        "`adamw`, or `muon` for the transformer's matrices and AdamW for the rest", "`adamw`; `muon` for unlike images"
    )
    clip_norm: float | None = setting("maximum norm of a gradient", "0.1 for fine-tuning; otherwise 1", gt=0)
    schedule: Shape | None = setting(
        "`step`: a tenth of the rate after two thirds; `cosine`; `wsd`: the peak, then a line down in the last 35 %",
        "`step`; `wsd` for unlike images and to refine boxes; `cosine` from scratch",
    )
    warmup_steps: int | None = setting("steps of rising rate", "0 for fine-tuning; otherwise 20 to 400", ge=0)
    ema_decay: float | None = setting(
        "decay of the averaged weights, which are what is evaluated and served",
        "an average over a thirtieth of the run; 0.998 from scratch",
        ge=0,
        lt=1,
    )
    precision: Precision | None = setting("`fp32`, or `bf16`: mixed precision, losses in float32", "`fp32`")
    freeze_backbone: bool | None = setting("train only the transformer and the heads", "false")
    freeze_encoder: bool | None = setting(
        "train only the decoder and the heads: backbone and encoder cost no more than in a detection", "false"
    )
    learn_norms: bool | None = setting(
        "the backbone's batch norms learn", "false; true for unlike images and from scratch"
    )
    hybrid: bool | None = setting(
        "one-to-many queries (H-DETR) and a dense head, in training only",
        "false; true for unlike images and from scratch",
    )
    flip: bool | None = setting("mirror images; false for documents", "true")
    colour: float | None = setting(
        "maximum change of brightness, contrast and saturation", "0; 0.2 for unlike images", ge=0, lt=1
    )
    drop_refinement: bool | None = setting(
        "leave out the model's box refinement, which knows other features", "false; true for unlike images"
    )
    second_attention: str | None = setting(
        "attention of about every second step, `tangent` say, so that the model is at home in it as in exact "
        "attention; L, r and C are the model's own by default"
    )
    refine_boxes: bool = Field(False, description="train only the box refinement, adding one where there is none")
    refinement_steps: int | None = setting(
        "steps of the box refinement after the run; 0: none",
        "15 % of the run's, for labelled images and a model that has a refinement",
        ge=0,
    )
    seed: int | None = setting("seed of new weights and of the data's order", "0", ge=0)
    distillation: DistillationSettings | None = None
    validation: ValidationSettings = ValidationSettings()
    run: RunSettings = RunSettings()

    @field_validator("second_attention")
    @classmethod
    def _approximate(cls, text: str | None) -> str | None:
        if text is not None and AttentionConfig.parse(text).mode == "exact":
            raise ValueError("exact attention is the first: name another")
        return text

    @field_validator("stages")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        return text if text is None else str(Curriculum.parse(text))

    @model_validator(mode="after")
    def _agree(self) -> RecipeSettings:
        lengths = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(lengths) > 1:
            raise ValueError(f"give one of steps, epochs and minutes, not {' and '.join(lengths)}")
        if self.stages is not None:
            steps = Curriculum.parse(self.stages).steps
            if self.steps not in (None, steps):
                raise ValueError(f"the stages have {steps} steps, the run {self.steps}: change or leave out one")
            if lengths not in ([], ["steps"]):
                raise ValueError(f"the stages have {steps} steps: leave out {lengths[0]}, or the stages")
        if self.refine_boxes and (self.hybrid or self.distillation):
            raise ValueError("the box refinement learns by itself: train or distil the model first, then refine")
        if self.second_attention and (self.refine_boxes or self.distillation):
            raise ValueError("second_attention is for training the model itself, without distillation")
        return self

    def updated(self, **options: Any) -> RecipeSettings:
        """The same with the options that are not None; one of steps, epochs and minutes replaces the others.

        Raises ValueError as `read_recipe`.
        """
        given = {name: value for name, value in options.items() if value is not None}
        kept = self.model_dump(exclude_unset=True)
        if any(name in given for name in LENGTHS):
            kept = {name: value for name, value in kept.items() if name not in LENGTHS}
        return checked(kept | given, "")

    def effective(self, recipe: Recipe, refinement_steps: int) -> RecipeSettings:
        """The settings that a plan has come to, with nothing left to follow from the data."""
        values = {name: getattr(recipe, name) for name in type(self).model_fields if hasattr(recipe, name)}
        distillation = recipe.distillation
        return self.model_copy(
            update=values
            | {
                "epochs": None,
                "minutes": None,
                "stages": recipe.stages and str(recipe.stages),
                "schedule": recipe.schedule.shape,
                "warmup_steps": recipe.schedule.warmup_steps,
                "hybrid": recipe.hybrid is not None,
                "second_attention": recipe.second_attention and str(recipe.second_attention),
                "refinement_steps": refinement_steps,
                "distillation": distillation
                and DistillationSettings(
                    attention=str(distillation.attention),
                    distance=distillation.distance,
                    weight=distillation.weight,
                    layers=distillation.layers,
                ),
            }
        )


def read_recipe(path: Path) -> RecipeSettings:
    """Read a recipe file. Raises OSError, and ValueError that names every setting that is unknown or wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the encoding or of TOML
        raise ValueError(f"{path} is not TOML: {error}") from None
    return checked(values, f"{path}: ")


def checked(values: dict[str, Any], source: str) -> RecipeSettings:
    """Make settings of plain values. Raises ValueError as `read_recipe`; its lines begin with `source`."""
    try:
        return RecipeSettings(**values)
    except ValidationError as error:
        lines = [f"{source}{_problem(row['type'], row['loc'], row['msg'], row['input'])}" for row in error.errors()]
        raise ValueError("\n".join(lines)) from None


def as_toml(settings: RecipeSettings) -> str:
    """Write settings as a recipe file; those that are None are left out."""
    values = settings.model_dump(exclude_none=True)
    return "\n".join(_toml_lines(values)) + "\n"


def plain(recipe: Recipe) -> dict[str, Any]:
    """Every setting of a recipe by name, as plain values that a checkpoint can hold."""
    others = {"epochs", "minutes", "refinement_steps", "validation", "run"}
    values = RecipeSettings().effective(recipe, 0).model_dump(exclude=others)
    distillation = values.pop("distillation") or {}
    return {"model": recipe.model} | values | {f"distillation.{name}": value for name, value in distillation.items()}


def conflicts(recipe: Recipe, started: dict[str, Any]) -> list[str]:
    """Say which settings a resumed run would change; `started` are the `plain` ones that it was started with.

    `data` is none of them: it may have moved.
    """
    wanted = plain(recipe)
    return [
        f"{name} was {started.get(name)}, not {wanted.get(name)}"
        for name in dict.fromkeys((*wanted, *started))
        if started.get(name) != wanted.get(name)
    ]


def _toml_lines(values: dict[str, Any]) -> Iterator[str]:
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    yield from (
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if name not in tables
    )
    for name, table in tables.items():
        yield from ("", f"[{name}]", *_toml_lines(table))


def _problem(error: str, path: tuple[int | str, ...], message: str, value: Any) -> str:
    """Say what is wrong with one setting."""
    name = ".".join(map(str, path))
    if error == "extra_forbidden":
        names, wrong = _names(path[:-1]), str(path[-1])
        near = [known for known in names if known.startswith(wrong)] or get_close_matches(wrong, names, 1, cutoff=0.4)
        return f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else "")
    if error == "missing":
        return f"{name} is missing"
    if error == "value_error":
        return ": ".join(filter(None, (name, message.removeprefix("Value error, "))))
    return f"{name} {message.replace('Input should', 'must')}, not {value!r}"


def _names(path: tuple[int | str, ...]) -> list[str]:
    """The settings of a table."""
    section: type[BaseModel] = RecipeSettings
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        section = next(each for each in (annotation, *get_args(annotation)) if isinstance(each, type))
    return list(section.model_fields)
