import pytest

from models.training.planning import Length, plan
from models.training.recipe import PAGE_STAGES, Hybrid
from models.training.schedule import Schedule


def test_from_nothing_as_the_embedded_model_was_made():
    recipe = plan("pages-small:scratch", "pages", Length(), {})
    assert str(recipe.stages) == PAGE_STAGES
    assert recipe.steps == 5400
    assert (recipe.learning_rate, recipe.backbone_rate, recipe.clip_norm, recipe.ema_decay) == (3e-4, 3e-4, 1.0, 0.998)
    assert recipe.schedule == Schedule("cosine", warmup_steps=400)
    assert recipe.hybrid == Hybrid()


def test_fine_tuning_is_detrs():
    recipe = plan("pages-small", "pages", Length(steps=20), {"learning_rate": 2e-4, "clip_norm": None})
    assert (recipe.learning_rate, recipe.backbone_rate, recipe.clip_norm) == (2e-4, 1e-5, 0.1)
    assert recipe.schedule == Schedule("step")
    assert recipe.hybrid is None
    assert str(recipe.stages) == "20:336-368"


def test_schedule_is_changed_part_by_part():
    recipe = plan("pages-small", "pages", Length(steps=20), {"schedule": "cosine", "warmup_steps": 3})
    assert recipe.schedule == Schedule("cosine", warmup_steps=3)
    assert plan("pages-small:scratch", "pages", Length(), {"warmup_steps": 0}).schedule.shape == "cosine"


@pytest.mark.parametrize(
    ("data", "length", "complaint"),
    [
        ("pages", {"epochs": 2}, "no epochs"),
        ("pages", {}, "steps or stages"),
        ("folder", {"stages": "10:64-80"}, "generated pages alone"),
    ],
)
def test_what_does_not_fit_together_is_refused(data, length, complaint):
    with pytest.raises(ValueError, match=complaint):
        plan("pages-small", data, Length(**length), {})


def test_two_lengths_are_refused():
    with pytest.raises(ValueError, match="one of"):
        Length(steps=1, epochs=1)


def test_box_refinement_has_rates_of_its_own():
    recipe = plan("pages-small", "pages", Length(steps=20), {"learning_rate": None}, refine_boxes=True)
    assert (recipe.refine_boxes, recipe.learning_rate, recipe.clip_norm) == (True, 1.5e-3, 1.0)
    assert recipe.schedule == Schedule("wsd", warmup_steps=30)
    assert plan("pages-small", "pages", Length(steps=20), {"learning_rate": 1e-4}, True).learning_rate == 1e-4
    with pytest.raises(ValueError, match="no boxes to refine"):
        plan("pages-small:scratch", "pages", Length(steps=20), {}, refine_boxes=True)
