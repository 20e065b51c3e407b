from dataclasses import replace

import pytest
import torch

from models.config import AttentionConfig
from models.training.curriculum import Curriculum
from models.training.distillation import Distillation
from models.training.recipe import Hybrid, Recipe, conflicts, for_refinement
from models.training.schedule import Schedule

RECIPE = Recipe("pages-small", "pages", 10)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"learning_rate": 2e-4}, "learning_rate was 0.0001, not 0.0002"),
        ({"schedule": Schedule("cosine")}, "schedule was step, not cosine"),
        ({"hybrid": Hybrid()}, "hybrid was None, not 160 queries, 4 an object"),
        ({"distillation": Distillation(AttentionConfig.act(16, 2.0))}, "distil was None, not act:L=16,r=2"),
        ({"stages": Curriculum.parse("10:64-80")}, "stages was None, not 10:64-80"),
        ({"steps": 11}, "steps was 10, not 11"),
    ],
)
def test_a_changed_setting_is_named(changed, complaint):
    assert conflicts(RECIPE, RECIPE.settings()) == []
    assert complaint in conflicts(replace(RECIPE, **changed), RECIPE.settings())


def test_data_may_move():
    assert conflicts(replace(RECIPE, data="elsewhere"), RECIPE.settings()) == []


def test_settings_are_plain_values_that_a_checkpoint_can_hold(tmp_path):
    recipe = replace(RECIPE, hybrid=Hybrid(), distillation=Distillation(AttentionConfig.act(16, 2.0)))
    torch.save(recipe.settings(), tmp_path / "settings.pt")
    assert torch.load(tmp_path / "settings.pt", weights_only=True) == recipe.settings()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch_size": 0}, {"ema_decay": 1.0}, {"learning_rate": -1.0}, {"clip_norm": 0.0}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|needs"):
        replace(RECIPE, **wrong)


def test_the_box_refinement_learns_by_itself():
    refining = for_refinement("pages-small", "pages", 10)
    assert refining.refine_boxes
    assert "refine_boxes was False, not True" in conflicts(refining, RECIPE.settings())
    for other in ({"hybrid": Hybrid()}, {"distillation": Distillation(AttentionConfig.act(16, 2.0))}):
        with pytest.raises(ValueError, match="learns by itself"):
            replace(refining, **other)


def test_a_run_from_before_there_was_a_box_refinement_goes_on():
    started = {name: value for name, value in RECIPE.settings().items() if name != "refine_boxes"}
    assert conflicts(RECIPE, started) == []
    assert conflicts(for_refinement("pages-small", "pages", 10), started) != []
