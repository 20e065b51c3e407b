"""The optimisers of a run, and the weights and rates of each."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from models.training.plan.recipe import Recipe

BACKBONE = "detr.backbone."
MATRICES = "detr.transformer."


def optimizers(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """AdamW for all that learns of a TrainingDetr; or Muon for the transformer's matrices, and AdamW for the rest.

    Every group of parameters has its rate at the peak of the schedule as `peak`. Muon (Jordan et al. 2024) makes
    its steps orthogonal; they are scaled to the size of AdamW's (arXiv 2502.16982), so that one rate serves both.
    """
    matrices: list[Tensor] = []
    backbone: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if recipe.optimizer == "muon" and name.startswith(MATRICES) and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            (backbone if name.startswith(BACKBONE) else rest).append(parameter)
    groups = [*_group(rest, recipe.learning_rate), *_group(backbone, recipe.backbone_rate)]
    made: list[Optimizer] = [AdamW(groups, weight_decay=recipe.weight_decay)]
    if matrices:
        own = _group(matrices, recipe.learning_rate)
        made.append(Muon(own, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return made


def _group(parameters: list[Tensor], rate: float) -> list[dict[str, Any]]:
    return [{"params": parameters, "lr": rate, "peak": rate}] if parameters else []
