"""The state of a training run, and its checkpoint: all that the next step depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.config import DetrConfig
from models.detr.detr import Detr
from models.training.objective.refinement import RefinementTraining
from models.training.objective.training_detr import TrainingDetr
from models.training.optimizers import optimizers
from models.training.plan.recipe import Recipe
from models.training.plan.recipe_file import plain
from models.training.starting_point import StartingPoint, averaged_weights, read_checkpoint
from models.weights import config_from_json, config_to_json, save_checkpoint
from models.whole_file import whole_file


class TrainingState:
    """Model, averaged weights, optimisers, `step` (the number made so far), and the `best` average precision so far."""

    def __init__(self, start: StartingPoint, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.config: DetrConfig = start.config
        self.recipe = recipe
        self.step = 0
        self.best: float | None = None
        self.model = training_model(start, recipe).to(device)
        self.averaged = AveragedModel(self.model.detr, multi_avg_fn=warmed_up(recipe.ema_decay), use_buffers=True)
        self.optimizers = optimizers(self.model, recipe)

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on; the file is always the old one or the new one, whole."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
            "config": config_to_json(self.config),
            "learnt_norms": _learns_norms(self.model),
            "recipe": plain(self.recipe),
            "best": self.best,
        }
        with whole_file(path) as part:
            torch.save(state, part)

    def load(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint of `save`."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        torch.set_rng_state(state["random"])
        self.step, self.best = state["step"], state["best"]

    def averaged_detr(self) -> Detr:
        """The averaged model itself."""
        averaged: Detr = self.averaged.module  # type: ignore[assignment]
        return averaged

    def export(self, path: Path) -> None:
        """Write the averaged model as it is served."""
        save_checkpoint(path, self.averaged_detr().state_dict(), self.config)


def warmed_up(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """An exponential average that forgets the start of a run: its decay rises to `decay` with the steps made.

    After n updates it is at most (1 + n) / (10 + n).
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        made = torch.as_tensor(updates).float()
        share = 1 - ((1 + made) / (10 + made)).clamp(
            max=decay
        )  # stays on the device: reading it would wait for the device
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value.to(mean.dtype), share.to(mean.dtype))
            else:
                mean.copy_(value)  # counters of batch norms

    return update


def training_model(start: StartingPoint, recipe: Recipe) -> TrainingDetr | RefinementTraining:
    """The model with the losses that a recipe asks for, on the CPU; what it should not learn is frozen.

    Raises ValueError for a box refinement of a model without weights.
    """
    if recipe.refine_boxes:
        if start.weights is None:
            raise ValueError("a model without weights has no boxes to refine: train it first")
        refinement = RefinementTraining(start.detr())
        start.fill(refinement)
        return refinement
    hybrid = recipe.hybrid
    extra, repeats = (hybrid.extra_queries, hybrid.repeats) if hybrid else (0, 1)
    model = TrainingDetr(start.detr(), extra, repeats, hybrid is not None, recipe.distillation, recipe.second_attention)
    start.fill(model)
    model.detr.backbone.requires_grad_(not recipe.freeze_backbone)
    if recipe.freeze_encoder:
        for part in (model.detr.backbone, model.detr.input_proj, model.detr.transformer.encoder):
            part.requires_grad_(False)
    if model.detr.box_refinement is not None:
        model.detr.box_refinement.requires_grad_(False)
    return model


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `TrainingState.save`. Raises ValueError for any other file, or a damaged one."""
    state = read_checkpoint(path)
    if state is None:
        raise ValueError(f"the run cannot go on with {path}: it is damaged, or no checkpoint of this version")
    return state


def starting_point_from_checkpoint(state: dict[str, Any]) -> StartingPoint:
    """The starting point of a resumed run, before `TrainingState.load` fills it."""
    return StartingPoint(config_from_json(state["config"]), averaged_weights(state), learn_norms=state["learnt_norms"])


def _learns_norms(model: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
