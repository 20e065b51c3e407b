"""The starting point of a run: weights of any model that can be served, a training checkpoint, or no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.config import BoxRefinementConfig, DetrConfig
from models.detr.box_refinement import BoxRefinement
from models.detr.detr import Detr
from models.named_models import named_config
from models.training.doubled import doubled
from models.training.objective.refinement import RefinementTraining
from models.training.objective.training_detr import TrainingDetr
from models.weights import Progress, config_from_json, load_strict, resolve

SCRATCH: Final = ":scratch"
DOUBLED: Final = ":doubled"
AVERAGED: Final = "module."
DETR: Final = "detr."
REFINEMENT: Final = "box_refinement."
CHECKPOINT_KEYS: Final = {
    "step",
    "model",
    "averaged",
    "optimizers",
    "random",
    "config",
    "learnt_norms",
    "recipe",
    "best",
}


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A configuration and its weights, by published names; None: from scratch.

    `training_parts` are the weights that only training needs, where a checkpoint of a run has them. `learn_norms`:
    the backbone's batch norms learn, as they must without weights; else they are frozen.
    """

    config: DetrConfig
    weights: dict[str, Tensor] | None
    training_parts: dict[str, Tensor] = field(default_factory=dict)
    learn_norms: bool = False

    def detr(self) -> Detr:
        """A model without its weights yet."""
        return Detr(self.config, nn.BatchNorm2d) if self.learn_norms or self.weights is None else Detr(self.config)

    def fill(self, model: TrainingDetr | RefinementTraining) -> None:
        """Copy the weights into a model, and the parts for training that fit it."""
        if self.weights is not None:
            load_strict(model.detr, self.weights)
        own = model.state_dict()
        fitting = {key: part for key, part in self.training_parts.items() if _fits(part, own.get(key))}
        model.load_state_dict(fitting, strict=False)


def starting_point(model: str, cache_dir: Path | None = None, progress: Progress | None = None) -> StartingPoint:
    """Find the model that a person names.

    `NAME:scratch` is a named model's shape without weights; `MODEL:doubled` is that model for images of twice the size
    (`models.training.doubled`); a `.pt` file that training wrote starts from its averaged weights; everything else is
    what can be served (`models.weights.resolve`). Raises WeightsError, KeyError for an unknown name, ValueError for a
    model that cannot be doubled.
    """
    if model.endswith(DOUBLED):
        start = starting_point(model.removesuffix(DOUBLED), cache_dir, progress)
        if start.weights is None:
            raise ValueError(f"{model}: a model without weights has nothing to start from")
        config, weights = doubled(start.config, start.weights)
        return replace(start, config=config, weights=weights)
    if model.endswith(SCRATCH):
        return StartingPoint(named_config(model.removesuffix(SCRATCH)), None)
    path = Path(model).expanduser()
    state = read_checkpoint(path) if path.suffix == ".pt" and path.is_file() else None
    if state is not None:
        return StartingPoint(
            config_from_json(state["config"]), averaged_weights(state), _training_parts(state["model"])
        )
    loaded = resolve(model, cache_dir=cache_dir, progress=progress)
    resizing = loaded.config.resizing
    by_sides = replace(loaded.config, resizing=resizing and resizing.by_sides())  # as augmentations resize
    return StartingPoint(by_sides, loaded.state_dict)


def relabelled(start: StartingPoint, labels: Sequence[str | None]) -> StartingPoint:
    """The same with a class head for other labels, in their order; unchanged where the labels are the same.

    The rows of classes that both know by name, and of no-object, are kept; new classes start at small random
    weights, as in a new model. All other weights stay.
    """
    old = start.config.labels
    if set(labels) == {label for label in old if label is not None}:
        return start
    config = replace(start.config, labels=tuple(labels))
    if start.weights is None:
        return replace(start, config=config)
    fresh = nn.Linear(config.hidden_dim, len(labels) + 1)
    rows = [(new, old.index(label)) for new, label in enumerate(labels) if label in old] + [(len(labels), len(old))]
    head = {"class_embed.weight": fresh.weight.detach(), "class_embed.bias": fresh.bias.detach()}
    for key, values in head.items():
        for new, row in rows:
            values[new] = start.weights[key][row]
    parts = {key: part for key, part in start.training_parts.items() if "class_embed" not in key}
    return replace(start, config=config, weights=start.weights | head, training_parts=parts)


def with_box_refinement(start: StartingPoint) -> StartingPoint:
    """The same with a new box refinement that leaves every side where it is; unchanged where there is one."""
    if start.weights is None or start.config.box_refinement is not None:
        return start
    config = replace(start.config, box_refinement=BoxRefinementConfig())
    fresh = {f"box_refinement.{key}": value for key, value in BoxRefinement(config).state_dict().items()}
    return replace(start, config=config, weights=start.weights | fresh)


def without_box_refinement(start: StartingPoint) -> StartingPoint:
    """The same as a plain DETR."""
    weights = start.weights and {key: own for key, own in start.weights.items() if not key.startswith(REFINEMENT)}
    return replace(start, config=replace(start.config, box_refinement=None), weights=weights)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint of `TrainingState.save`; None for any other file, or a damaged one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle fails in every way there is
        return None
    return state if isinstance(state, dict) and state.keys() >= CHECKPOINT_KEYS else None


def averaged_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """The averaged model of a training checkpoint, by published names."""
    averaged: dict[str, Tensor] = state["averaged"]
    return {key.removeprefix(AVERAGED): value for key, value in averaged.items() if key.startswith(AVERAGED)}


def _training_parts(model: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in model.items() if not key.startswith(DETR)}


def _fits(given: Tensor, own: Tensor | None) -> bool:
    return own is not None and own.shape == given.shape
