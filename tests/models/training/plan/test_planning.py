from dataclasses import replace

import pytest

from models.attention_config import AttentionConfig
from models.named_models import pages_small
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.planning import Request, plan
from models.training.plan.recipe import PAGE_STAGES, Hybrid, averaging_decay
from models.training.plan.recipe_file import RecipeSettings
from models.training.plan.schedule import Schedule
from models.training.plan.survey import Survey

NEAR = Survey(images=292, new_classes=(), feature_shift=0.06, queries=80, refines_boxes=True)
FAR = replace(NEAR, feature_shift=0.39, new_classes=("RBC",))
PAGES = Survey(images=None, new_classes=(), feature_shift=None, queries=80, refines_boxes=True)
DISTIL = {"attention": "act:r=2"}
SCRATCH = "pages-small:scratch"


def planned(data="folder", survey=FAR, model="pages-small", **settings):
    return plan(Request(model, data, RecipeSettings(**settings)), survey, pages_small())


def test_a_model_from_scratch_is_trained_as_the_embedded_one_was():
    result = planned("pages", PAGES, SCRATCH)
    recipe = result.recipe
    assert result.refinement is None
    assert str(recipe.stages) == PAGE_STAGES
    assert recipe.steps == 5400
    assert (recipe.learning_rate, recipe.backbone_rate, recipe.clip_norm, recipe.ema_decay) == (3e-4, 3e-4, 1.0, 0.998)
    assert recipe.schedule == Schedule("cosine", warmup_steps=400)
    assert recipe.hybrid == Hybrid()
    assert recipe.learn_norms


def test_images_like_the_models_are_fine_tuned_on_as_detr_is():
    recipe = planned(survey=NEAR).recipe
    assert (recipe.learning_rate, recipe.backbone_rate, recipe.clip_norm) == (1e-4, 1e-5, 0.1)
    assert recipe.schedule == Schedule("step")
    assert (recipe.hybrid, recipe.stages, recipe.learn_norms, recipe.optimizer) == (None, None, False, "adamw")


def test_all_of_the_model_learns_from_images_unlike_its_own():
    result = planned()
    recipe = result.recipe
    assert (recipe.optimizer, recipe.schedule.shape, recipe.hybrid) == ("muon", "wsd", Hybrid())
    assert recipe.learn_norms
    assert recipe.drop_refinement
    assert recipe.backbone_rate > 1e-4
    assert recipe.ema_decay == averaging_decay(recipe.steps)
    assert recipe.stages.steps == recipe.steps
    assert result.refinement.refine_boxes
    assert result.refinement.steps == round(0.15 * recipe.steps)
    assert result.refinement.stages.steps == result.refinement.steps


@pytest.mark.parametrize(
    ("survey", "settings", "steps"),
    [
        (FAR, {"steps": 2000}, 300),
        (NEAR, {"steps": 2000}, 300),
        (replace(FAR, refines_boxes=False), {}, None),
        (FAR, {"steps": 100}, None),
        (FAR, {"refinement_steps": 0}, None),
        (replace(FAR, refines_boxes=False), {"refinement_steps": 7}, 7),
        (FAR, {"distillation": DISTIL}, None),
    ],
)
def test_boxes_are_refined_after_a_long_run_of_a_model_that_refines_them(survey, settings, steps):
    refinement = planned(survey=survey, **settings).refinement
    assert steps == (refinement and refinement.steps)


def test_boxes_are_not_refined_after_generated_pages():
    assert planned("pages", PAGES, steps=2000).refinement is None


def test_distillation_has_fine_tunings_rates_and_the_models_attention():
    recipe = planned(distillation=DISTIL).recipe
    assert (recipe.learning_rate, recipe.learn_norms, recipe.hybrid) == (1e-4, False, None)
    own = AttentionConfig.act(pages_small().act_L, 2.0)
    assert recipe.distillation == Distillation(own, 20.0, "all", "squared")
    chosen = DISTIL | {"distance": "overlap", "layers": "last"}
    assert planned(distillation=chosen).recipe.distillation == Distillation(own, 1.0, "last", "overlap")
    assert planned(distillation=chosen | {"weight": 7}).recipe.distillation.weight == 7.0


def test_a_run_makes_more_passes_over_few_images_than_over_many():
    def passes(images, survey):
        return planned(survey=replace(survey, images=images)).recipe.steps * 8 / images

    assert passes(292, FAR) == pytest.approx(100, rel=0.02)
    assert passes(20, FAR) > passes(292, FAR) > passes(10_000, FAR) > 10
    assert passes(292, NEAR) == pytest.approx(25, rel=0.02)


def test_settings_come_after_the_defaults():
    recipe = planned(learning_rate=2e-4, hybrid=False, schedule="cosine", warmup_steps=3, clip_norm=None).recipe
    assert (recipe.learning_rate, recipe.hybrid, recipe.clip_norm) == (2e-4, None, 1.0)
    assert recipe.schedule == Schedule("cosine", warmup_steps=3)
    assert planned("pages", PAGES, SCRATCH, warmup_steps=0).recipe.schedule == Schedule("cosine")
    assert planned(survey=NEAR, hybrid=True).recipe.hybrid == Hybrid()
    assert planned(epochs=2, batch_size=100).recipe.steps == 6
    assert planned(batch_size=100, seed=5, flip=False).refinement.seed == 5


def test_stages_are_for_labelled_images_too():
    for survey in (NEAR, FAR):
        recipe = planned(survey=survey, stages="10:64-80,5:80-96").recipe
        assert (recipe.steps, recipe.stages) == (15, Curriculum.parse("10:64-80,5:80-96"))


def test_an_effective_recipe_gives_the_same_plan_again():
    request = Request("pages-small", "folder", RecipeSettings(distillation=None, epochs=9, colour=0.1))
    for survey in (NEAR, FAR):
        first = plan(request, survey, pages_small())
        effective = request.settings.effective(first.recipe, first.refinement.steps)
        assert plan(replace(request, settings=effective), survey, pages_small()) == first


@pytest.mark.parametrize(
    ("data", "settings", "complaint"),
    [
        ("pages", {"epochs": 2}, "no epochs"),
        ("pages", {}, "steps or stages"),
        ("folder", {"minutes": 5}, "steps or epochs"),
    ],
)
def test_a_length_that_does_not_fit_the_data_is_refused(data, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        planned(data, PAGES if data == "pages" else FAR, **settings)


def test_box_refinement_has_rates_of_its_own():
    recipe = planned("pages", PAGES, steps=2000, refine_boxes=True).recipe
    assert (recipe.refine_boxes, recipe.learning_rate, recipe.clip_norm) == (True, 1.5e-3, 1.0)
    assert recipe.schedule == Schedule("wsd", warmup_steps=30)
    assert planned("pages", PAGES, steps=2000, refine_boxes=True, learning_rate=1e-4).recipe.learning_rate == 1e-4
    with pytest.raises(ValueError, match="no boxes to refine"):
        planned("pages", PAGES, SCRATCH, steps=2000, refine_boxes=True)
    assert planned(steps=2000, refine_boxes=True).recipe.refine_boxes  # of labelled images too
