from dataclasses import replace

import pytest
import torch

from models.config import AttentionConfig
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import (
    Hybrid,
    Recipe,
    averaging_decay,
    conflicts,
    for_refinement,
    growing,
    learning_anew,
)
from models.training.plan.schedule import Schedule

RECIPE = Recipe("pages-small", "pages", 10)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"learning_rate": 2e-4}, "learning_rate was 0.0001, not 0.0002"),
        ({"schedule": Schedule("cosine")}, "schedule was step, not cosine"),
        ({"hybrid": Hybrid()}, "hybrid was None, not 160 queries, 4 an object"),
        ({"distillation": Distillation(AttentionConfig.act(16, 2.0))}, "distil was None, not act:L=16,r=2"),
        ({"learn_norms": True}, "learn_norms was False, not True"),
        ({"colour": 0.2}, "colour was 0.0, not 0.2"),
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
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"ema_decay": 1.0},
        {"learning_rate": -1.0},
        {"clip_norm": 0.0},
        {"colour": 1.0},
    ],
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


def test_a_run_from_before_colour_and_norms_could_be_chosen_goes_on():
    started = {name: value for name, value in RECIPE.settings().items() if name not in ("learn_norms", "colour")}
    assert conflicts(RECIPE, started) == []
    assert conflicts(replace(RECIPE, learn_norms=True), started) == []  # from nothing, norms learnt without a setting


def test_stages_have_the_steps_of_the_run():
    with pytest.raises(ValueError, match="the stages have 9 steps, the run 10"):
        replace(RECIPE, stages=Curriculum.parse("9:64-80"))


@pytest.mark.parametrize(("steps", "remembered"), [(30, 2), (650, 650 / 30), (3000, 100), (300_000, 1000)])
def test_averages_remember_a_small_part_of_the_run(steps, remembered):
    assert 1 / (1 - averaging_decay(steps)) == pytest.approx(remembered)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 3650])
def test_images_grow_to_the_models_own_size(steps):
    stages = growing(steps, 352)
    assert stages.steps == steps
    sides = [stage.shortest_sides for stage in stages.stages]
    assert sides == sorted(sides)
    assert sides[-1][0] <= 352 <= sides[-1][1]
    assert learning_anew("m", "d", steps, 352).stages == stages


def test_a_tiny_model_trains_on_no_less_than_a_few_pixels():
    assert all(stage.shortest_sides[0] >= 32 for stage in growing(100, 40).stages)
