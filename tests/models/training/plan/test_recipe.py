from dataclasses import replace

import pytest

from models.attention_config import AttentionConfig
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe, averaging_decay, for_refinement, for_unlike_images, growing

RECIPE = Recipe("pages-small", "pages", 10)


@pytest.mark.parametrize("other", [{"hybrid": Hybrid()}, {"distillation": Distillation(AttentionConfig.act(16, 2.0))}])
def test_the_box_refinement_learns_by_itself(other):
    with pytest.raises(ValueError, match="learns by itself"):
        replace(for_refinement("pages-small", "pages", 10), **other)


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
    assert for_unlike_images("m", "d", steps, 352).stages == stages


def test_a_tiny_model_trains_on_no_less_than_a_few_pixels():
    assert all(stage.shortest_sides[0] >= 32 for stage in growing(100, 40).stages)
