from dataclasses import replace

import pytest

from models.config import AttentionConfig
from models.training.objective.distillation import Distillation
from models.training.plan.planning import Length, Request, plan
from models.training.plan.recipe import PAGE_STAGES, Hybrid, averaging_decay
from models.training.plan.schedule import Schedule
from models.training.plan.survey import Survey

NEAR = Survey(images=292, new_classes=(), feature_shift=0.06, queries=80, refines_boxes=True)
FAR = replace(NEAR, feature_shift=0.39, new_classes=("RBC",))
PAGES = Survey(images=None, new_classes=(), feature_shift=None, queries=80, refines_boxes=True)


def planned(data="folder", survey=FAR, model="pages-small", side=352, **request):
    return plan(Request(model, data, **request), survey, side)


def test_from_nothing_as_the_embedded_model_was_made():
    found = planned("pages", PAGES, "pages-small:scratch")
    recipe = found.recipe
    assert found.refinement is None
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


def test_images_unlike_the_models_are_learnt_anew():
    found = planned()
    recipe = found.recipe
    assert (recipe.optimizer, recipe.schedule.shape, recipe.hybrid) == ("muon", "wsd", Hybrid())
    assert recipe.learn_norms
    assert recipe.drop_refinement
    assert recipe.backbone_rate > 1e-4
    assert recipe.ema_decay == averaging_decay(recipe.steps)
    assert recipe.stages.steps == recipe.steps
    assert found.refinement.refine_boxes
    assert found.refinement.steps == round(0.15 * recipe.steps)
    assert found.refinement.stages.steps == found.refinement.steps


def test_a_models_boxes_are_refined_again_if_it_has_a_refinement_and_the_run_is_long_enough():
    assert planned(survey=NEAR).refinement is not None
    assert planned(survey=replace(FAR, refines_boxes=False)).refinement is None
    assert planned(length=Length(steps=100)).refinement is None
    assert planned(refinement_steps=0).refinement is None
    assert planned(survey=replace(FAR, refines_boxes=False), refinement_steps=7).refinement.steps == 7
    assert planned("pages", PAGES, length=Length(steps=2000)).refinement is None
    distil = {"distillation": Distillation(AttentionConfig.act(16, 2.0))}
    assert planned(changes=distil).refinement is None


def test_distillation_is_no_new_training():
    recipe = planned(changes={"distillation": Distillation(AttentionConfig.act(16, 2.0))}).recipe
    assert (recipe.learning_rate, recipe.learn_norms, recipe.hybrid) == (1e-4, False, None)


def test_few_images_are_gone_through_often_and_many_less_often():
    def passes(images, survey):
        return planned(survey=replace(survey, images=images)).recipe.steps * 8 / images

    assert passes(292, FAR) == pytest.approx(100, rel=0.02)
    assert passes(20, FAR) > passes(292, FAR) > passes(10_000, FAR) > 10
    assert passes(292, NEAR) == pytest.approx(25, rel=0.02)


def test_changes_come_after_the_defaults():
    changes = {"learning_rate": 2e-4, "hybrid": False, "schedule": "cosine", "warmup_steps": 3, "clip_norm": None}
    recipe = planned(changes=changes).recipe
    assert (recipe.learning_rate, recipe.hybrid, recipe.clip_norm) == (2e-4, None, 1.0)
    assert recipe.schedule == Schedule("cosine", warmup_steps=3)
    assert planned("pages", PAGES, "pages-small:scratch", changes={"warmup_steps": 0}).recipe.schedule.shape == "cosine"
    assert planned(survey=NEAR, changes={"hybrid": True}).recipe.hybrid == Hybrid()
    batches = planned(length=Length(epochs=2), changes={"batch_size": 100})
    assert batches.recipe.steps == 6
    assert planned(changes={"batch_size": 100, "seed": 5, "flip": False}).refinement.seed == 5


@pytest.mark.parametrize(
    ("data", "length", "complaint"),
    [
        ("pages", {"epochs": 2}, "no epochs"),
        ("pages", {}, "steps or stages"),
        ("folder", {"stages": "10:64-80"}, "only for generated pages"),
        ("folder", {"minutes": 5}, "steps or epochs"),
    ],
)
def test_wishes_that_do_not_fit_together_are_refused(data, length, complaint):
    with pytest.raises(ValueError, match=complaint):
        planned(data, PAGES if data == "pages" else FAR, length=Length(**length))


@pytest.mark.parametrize(
    "two", [{"steps": 1, "epochs": 1}, {"steps": 1, "minutes": 1}, {"stages": "1:64-64", "minutes": 1}]
)
def test_two_lengths_are_refused(two):
    with pytest.raises(ValueError, match="one of"):
        Length(**two)


def test_box_refinement_has_rates_of_its_own():
    length = Length(steps=2000)
    recipe = planned("pages", PAGES, length=length, refine_boxes=True).recipe
    assert (recipe.refine_boxes, recipe.learning_rate, recipe.clip_norm) == (True, 1.5e-3, 1.0)
    assert recipe.schedule == Schedule("wsd", warmup_steps=30)
    changed = planned("pages", PAGES, length=length, refine_boxes=True, changes={"learning_rate": 1e-4})
    assert changed.recipe.learning_rate == 1e-4
    with pytest.raises(ValueError, match="no boxes to refine"):
        planned("pages", PAGES, "pages-small:scratch", length=length, refine_boxes=True)
    assert planned(length=length, refine_boxes=True).recipe.refine_boxes  # of labelled images too
