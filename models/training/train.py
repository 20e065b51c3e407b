"""Train the embedded page detector from nothing: `python -m models.training.train --output DIR`.

`torchrun --nproc-per-node 2 -m models.training.train --output DIR` shares every batch among two processes.
A run that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.config import DetrConfig, pages_small
from models.detr.detr import Detr
from models.images import ImageBatch
from models.preprocess import normalise
from models.training.curriculum import Curriculum, Stage
from models.training.hybrid import HybridDetr, HybridLosses
from models.training.page_stream import PageStream, TrainingBatch

log = logging.getLogger(__name__)

STAGES = "1700:192-224,3200:256-304,500:336-368"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the embedded model is trained."""

    curriculum: Curriculum
    batch_size: int = 8
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    extra_queries: int = 160
    repeats: int = 4
    ema_decay: float = 0.998


class Trainer:
    """One process's part of a training run: model, optimiser, averaged weights, and where it stands."""

    def __init__(self, config: DetrConfig, recipe: Recipe, output: Path) -> None:
        torch.manual_seed(0)
        self.config = config
        self.recipe = recipe
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.ranks = dist.get_world_size() if dist.is_initialized() else 1
        self.checkpoint = output / "checkpoint.pt"
        self.step = 0
        detr = Detr(config, nn.BatchNorm2d)
        self.model = HybridDetr(detr, recipe.extra_queries, recipe.repeats, dense=True)
        averaging = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.model.detr, multi_avg_fn=averaging, use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def run(self, save_every: int, log_every: int) -> None:
        """Train to the end of the curriculum, saving a checkpoint now and then."""
        recipe = self.recipe
        model: nn.Module = self.model
        if self.ranks > 1:
            model = DistributedDataParallel(self.model, broadcast_buffers=False)
        model.train()
        stream = PageStream(recipe.curriculum, recipe.batch_size, self.step, self.rank, self.ranks)
        began = time.perf_counter()
        for batch in stream.loader():
            losses = self.update(model, batch)
            self.step += 1
            if self.rank == 0 and self.step % log_every == 0:
                self.report(losses, (time.perf_counter() - began) / log_every)
                began = time.perf_counter()
            if self.rank == 0 and (self.step % save_every == 0 or self.step == recipe.curriculum.steps):
                self.save()

    def update(self, model: nn.Module, batch: TrainingBatch) -> HybridLosses:
        """One optimiser step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.curriculum.rate(self.step)
        pixels = normalise(batch.pixels, self.config)
        losses: HybridLosses = model(ImageBatch((pixels,), tuple(range(len(pixels)))), batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.total)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.model.detr)
        return losses

    def report(self, losses: HybridLosses, seconds: float) -> None:
        """One line of progress."""
        parts = {
            name: " ".join(f"{float(x):.3f}" for x in (terms.class_, terms.l1, terms.giou))
            for name, terms in losses.parts().items()
        }
        left = (self.recipe.curriculum.steps - self.step) * seconds / 60
        log.info("step %d %s | %.2f s a step, %.0f min left", self.step, parts, seconds, left)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        log.info("resumed at step %d", self.step)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Stages of "1500:192-224,1000:256-304": steps, then the range of the shortest side in pixels."""
    stages = []
    for part in text.split(","):
        steps, sides = part.split(":")
        low, high = sides.split("-")
        stages.append(Stage(int(steps), (int(low), int(high))))
    return tuple(stages)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--stages", default=STAGES, help="STEPS:LOW-HIGH,...")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=1, help="torch threads of each process")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    recipe = Recipe(Curriculum(parse_stages(options.stages)), batch_size=options.batch_size)
    trainer = Trainer(pages_small(), recipe, options.output)
    trainer.resume()
    trainer.run(options.save_every, log_every=20)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
