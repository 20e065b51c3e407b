"""Optimiser steps over a stream of batches, in one of the processes that train together."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models.images import ImageBatch
from models.preprocess import normalise
from models.training.data.batches import BatchStream, TrainingBatch, load
from models.training.objective.losses import Losses
from models.training.processes import ranks
from models.training.training_state import TrainingState


class Trainer:
    """This process's part of a run: takes its share of every batch and keeps the state equal to the others'."""

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        self.state = state
        self.device = device
        self.model: nn.Module = state.model
        if ranks() > 1:
            own = [device] if device.type == "cuda" else None
            self.model = DistributedDataParallel(state.model, device_ids=own)
        self.model.train()

    def steps(self, stream: BatchStream, workers: int) -> Iterator[Losses]:
        """Train to the end of the recipe, and yield this process's losses after every step."""
        for batch in load(stream, self.state.step, self.state.recipe.steps, workers):
            losses = self.update(batch)
            self.state.step += 1
            yield losses

    def update(self, batch: TrainingBatch) -> Losses:
        """One optimiser step. Raises NotFinite where the model has failed."""
        state, recipe = self.state, self.state.recipe
        factor = recipe.schedule.factor(state.step, recipe.steps)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        images = [normalise(image.to(self.device, non_blocking=True), state.config) for image in batch.images]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            losses: Losses = self.model(ImageBatch.from_images(images), batch.targets)
        state.model.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_norm)
        for optimizer in state.optimizers:
            optimizer.step()
        state.averaged.update_parameters(state.model.detr)
        return losses
