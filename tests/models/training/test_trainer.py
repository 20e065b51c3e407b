"""Optimiser steps of a tiny model on pages."""

import math
from dataclasses import replace

import pytest
import torch

from models.training.data.page_stream import PageStream
from models.training.objective.matcher import NotFinite
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe
from models.training.plan.schedule import Schedule
from models.training.starting_point import StartingPoint
from models.training.trainer import Trainer
from models.training.training_state import TrainingState

CPU = torch.device("cpu")
STAGES = Curriculum.parse("1000:96-112")
RECIPE = Recipe(
    "tiny", "pages", 1000, batch_size=2, learning_rate=1e-3, backbone_rate=1e-3, clip_norm=1.0, stages=STAGES
)


def trained(config, recipe, steps):
    trainer = Trainer(TrainingState(StartingPoint(config, None), recipe, CPU), CPU)
    batch = PageStream(STAGES, recipe.batch_size).batch(0)
    return trainer, [trainer.update(batch).total.item() for _ in range(steps)]


@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [("fp32", "adamw"), pytest.param("bf16", "adamw", marks=pytest.mark.half), ("fp32", "muon")],
)
def test_the_loss_falls_on_repeated_pages(tiny_config, precision, optimizer):
    recipe = replace(RECIPE, precision=precision, optimizer=optimizer, hybrid=Hybrid(8, 2))
    _, losses = trained(tiny_config, recipe, 30)
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < 0.75 * losses[0]


def test_backbone_and_rest_have_rates_of_their_own(tiny_config):
    stages = Curriculum.parse("3:96-112")
    recipe = replace(RECIPE, backbone_rate=1e-5, steps=3, stages=stages, schedule=Schedule("step"))
    trainer, _ = trained(tiny_config, recipe, 1)
    rates = {group["lr"]: len(group["params"]) for group in trainer.state.optimizers[0].param_groups}
    backbone = sum(1 for _ in trainer.state.model.detr.backbone.parameters())
    assert rates[1e-5] == backbone
    trainer.state.step = 2
    trainer.update(PageStream(STAGES, 2).batch(0))
    assert [group["lr"] for group in trainer.state.optimizers[0].param_groups] == pytest.approx([1e-4, 1e-6])


def test_a_frozen_backbone_stays(tiny_config):
    start = TrainingState(StartingPoint(tiny_config, None), RECIPE, CPU).model.detr.backbone.state_dict()
    trainer, _ = trained(tiny_config, replace(RECIPE, freeze_backbone=True), 2)
    for name, value in trainer.state.model.detr.backbone.named_parameters():
        assert torch.equal(value, start[name])


def test_with_a_frozen_encoder_only_what_follows_it_learns(tiny_config):
    start = TrainingState(StartingPoint(tiny_config, None), RECIPE, CPU).model.detr.state_dict()
    trainer, _ = trained(tiny_config, replace(RECIPE, freeze_encoder=True), 2)
    now = trainer.state.model.detr.state_dict()
    before_the_decoder = ("backbone.", "input_proj.", "transformer.encoder.")
    moved = {
        name for name, value in trainer.state.model.detr.named_parameters() if not torch.equal(now[name], start[name])
    }
    assert not [name for name in moved if name.startswith(before_the_decoder)]
    assert {"query_embed.weight", "class_embed.weight", "bbox_embed.layers.0.weight"} <= moved
    assert [name for name in moved if name.startswith("transformer.decoder.")]


def test_norms_of_a_frozen_encoder_cannot_learn():
    with pytest.raises(ValueError, match="freezes the backbone too"):
        replace(RECIPE, freeze_encoder=True, learn_norms=True)


def test_averaged_weights_follow_slowly(tiny_config):
    trainer, _ = trained(tiny_config, replace(RECIPE, ema_decay=0.5), 1)
    first = trainer.state.averaged_detr().query_embed.weight.clone()
    trainer.update(PageStream(STAGES, 2).batch(1))
    kept = 2 / 11  # so few of the first weights, since only one step came before
    expected = kept * first + (1 - kept) * trainer.state.model.detr.query_embed.weight
    torch.testing.assert_close(trainer.state.averaged_detr().query_embed.weight, expected)


def test_a_loss_that_is_not_finite_ends_the_run(tiny_config):
    state = TrainingState(StartingPoint(tiny_config, None), RECIPE, CPU)
    with torch.no_grad():
        state.model.detr.query_embed.weight[0, 0] = math.nan
    with pytest.raises(NotFinite):
        Trainer(state, CPU).update(PageStream(STAGES, 2).batch(0))
