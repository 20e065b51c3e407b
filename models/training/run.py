"""The loop over a run's steps: reports, validation, checkpoints, and stopping when asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.attention_config import AttentionConfig
from models.data.samples import Samples
from models.training.data.training_data import TrainingData, open_data, open_held_out
from models.training.display import Display
from models.training.interruption import Interruption
from models.training.objective.losses import Losses
from models.training.plan.recipe_file import RunSettings, ValidationSettings
from models.training.processes import any_process, mean_over_processes, rank
from models.training.run_log import RunLog
from models.training.trainer import Trainer
from models.training.training_state import TrainingState
from models.training.validation import as_values, validate
from models.training.watch import Watch

VALIDATIONS = 10
"""Validations of a run by default: enough to find the best weights."""

NOT_VALIDATED = (
    "warning: the data has no validation split, so the model is not measured: name other images with "
    "--val-annotations, or with data in the recipe's [validation]"
)

CHECKPOINT = "checkpoint.pt"
MODEL = "model.safetensors"
BEST = "best.safetensors"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Settings of a run that do not change the weights that come out of it.

    `output` gets the checkpoint, the models and the logs; `workers` processes make batches. `annotations` and
    `val_annotations` name the files to learn from and to validate on where they are not to be looked for.
    """

    output: Path
    device: str = "cpu"
    workers: int = 1
    annotations: Path | None = None
    val_annotations: Path | None = None
    cache_dir: Path | None = None
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def open_data(self, data: str) -> TrainingData:
        """Open the data to learn from, and what to validate on. Raises OSError and ValueError for unusable data."""
        opened, wanted = open_data(data, self.annotations), self.validation
        if wanted.every == 0:
            return opened
        held_out = open_held_out(wanted.data or data, wanted.images, self.val_annotations, opened.classes)
        return replace(opened, held_out=held_out)


class Run:
    """One process's part of a run. The first process speaks and writes for all."""

    def __init__(self, state: TrainingState, options: RunOptions, data: TrainingData, device: torch.device) -> None:
        recipe = state.recipe
        self.state = state
        self.options = options
        self.data = data
        self.device = device
        self.stream = data.stream(recipe, state.config)
        every = options.validation.every
        self.eval_every = max(1, recipe.steps // VALIDATIONS) if every is None else every
        self.attentions = [AttentionConfig.exact()]
        if recipe.distillation is not None:
            self.attentions.append(recipe.distillation.attention)
        if recipe.second_attention is not None:
            self.attentions.append(recipe.second_attention)
        self.display = Display(recipe.steps, state.step, quiet=rank() > 0)
        self.watch = Watch(recipe.steps, state.step)
        self.log = RunLog(options.output, state.step, silent=rank() > 0)

    def to_the_end(self, interruption: Interruption, remarks: Sequence[str]) -> bool:
        """Train until no step is left, or until any process is asked to stop (False); all is saved either way."""
        state, options = self.state, self.options
        with self.display, self.log:
            for remark in (*remarks, *self.data.remarks()):
                self.display.say(remark)
            if self.eval_every and self.data.held_out is None:
                self.display.say(NOT_VALIDATED)
            clock = StepClock(state.step)
            for losses in Trainer(state, self.device).steps(self.stream, options.workers):
                if self.due(options.run.log_every):
                    self.report(losses, clock)
                self.display.advance(state.step)
                stopping = any_process(interruption.wanted)
                held_out = self.data.held_out if not stopping and self.due(self.eval_every) else None
                if held_out is not None or stopping or self.due(options.run.save_every):
                    self.save()
                if held_out is not None:
                    self.validate(held_out)
                    self.save()
                    clock.restart(state.step)
                if stopping and state.step < state.recipe.steps:
                    self.display.say(f"stopped after step {state.step}; the same command goes on from here")
                    return False
        return True

    def due(self, every: int) -> bool:
        """Whether what is done every n steps (0: never) is due after this one; the last step always counts."""
        step = self.state.step
        return every > 0 and (step % every == 0 or step == self.state.recipe.steps)

    def report(self, losses: Losses, clock: StepClock) -> None:
        """Show and log the losses of the last step, of all processes."""
        scalars = losses.scalars()
        means = mean_over_processes(torch.stack([value.detach().float() for value in scalars.values()]))
        values = dict(zip(scalars, means.tolist(), strict=True))
        values["rate"] = self.state.optimizers[0].param_groups[0]["lr"]
        values["images_per_second"] = self.state.recipe.batch_size * clock.steps_per_second(self.state.step)
        self.display.report(self.state.step, values)
        self.log.write(self.state.step, values)
        self.warn(self.watch.losses(self.state.step, values))

    def validate(self, held_out: Samples) -> None:
        """Score the averaged model, and keep it if it is the best so far, by AP averaged over the attentions."""
        state = self.state
        with torch.random.fork_rng():  # a run draws the same numbers however often it is validated
            validation = validate(state.averaged_detr(), held_out, self.attentions, self.device)
        self.log.write(state.step, as_values(validation.metrics))
        scores = ", ".join(f"{name} AP {row.ap:.3f} AP50 {row.ap50:.3f}" for name, row in validation.metrics.items())
        self.display.say(f"step {state.step}: {scores}")
        self.warn(self.watch.validation(state.step, validation))
        if state.best is None or validation.mean_ap > state.best:
            state.best = validation.mean_ap
            if rank() == 0:
                state.export(self.options.output / BEST)

    def warn(self, warnings: Sequence[str]) -> None:
        """Show the warnings."""
        for warning in warnings:
            self.display.say(warning)

    def save(self) -> None:
        """Write the checkpoint, and the model as it stands."""
        if rank() == 0:
            self.state.save(self.options.output / CHECKPOINT)
            self.state.export(self.options.output / MODEL)


class StepClock:
    """Steps per second since the last time that they were asked for."""

    def __init__(self, step: int) -> None:
        self.restart(step)

    def restart(self, step: int) -> None:
        """Count from here on."""
        self._since, self._step = time.monotonic(), step

    def steps_per_second(self, step: int) -> float:
        """The average rate since the last time."""
        rate = (step - self._step) / (time.monotonic() - self._since)
        self.restart(step)
        return rate
