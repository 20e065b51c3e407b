from dataclasses import replace

import pytest
import torch

from models.training.objective.training_detr import TrainingDetr
from models.training.optimizers import optimizers
from models.training.plan.recipe import Recipe

RECIPE = Recipe("tiny", "pages", 10, learning_rate=2e-4, backbone_rate=1e-5)


@pytest.fixture
def model(tiny_detr):
    return TrainingDetr(tiny_detr, 6, 2, dense=True)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_weight_that_learns_is_moved_by_one_optimizer(model, optimizer):
    frozen = model.detr.backbone.requires_grad_(False)
    moved = [
        id(parameter)
        for each in optimizers(model, replace(RECIPE, optimizer=optimizer))
        for group in each.param_groups
        for parameter in group["params"]
    ]
    assert sorted(moved) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)
    assert not {id(parameter) for parameter in frozen.parameters()} & set(moved)


def test_muon_moves_only_the_matrices_of_the_transformer(model):
    adamw, muon = optimizers(model, replace(RECIPE, optimizer="muon"))
    matrices = {id(value) for value in model.detr.transformer.parameters() if value.ndim == 2}
    assert matrices
    assert {id(value) for group in muon.param_groups for value in group["params"]} == matrices
    assert [group["peak"] for group in adamw.param_groups] == [2e-4, 1e-5]
    assert [group["peak"] for group in muon.param_groups] == [2e-4]


def test_muons_steps_are_as_long_as_adamws(model):
    """AdamW's have a root mean square of about 0.2 of the rate: one rate serves both."""
    _, muon = optimizers(model, replace(RECIPE, optimizer="muon", weight_decay=0.0))
    (group,) = muon.param_groups
    before = [value.detach().clone() for value in group["params"]]
    generator = torch.Generator().manual_seed(0)
    for value in group["params"]:
        value.grad = torch.randn(value.shape, generator=generator)
    muon.step()
    for old, new in zip(before, group["params"], strict=True):
        step = (new.detach() - old) / group["lr"]
        assert 0.1 < step.square().mean().sqrt() < 0.3
