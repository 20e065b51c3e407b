import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from models.attention_config import AttentionConfig
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe, for_refinement
from models.training.plan.recipe_file import RecipeSettings, as_toml, conflicts, plain, read_recipe
from models.training.plan.schedule import Schedule

RECIPE = Recipe("pages-small", "pages", 10)
DISTILLED = replace(RECIPE, distillation=Distillation(AttentionConfig.act(16, 2.0)))
ROOT = Path(__file__).parents[4]


@pytest.fixture
def read(tmp_path):
    def text(content):
        (tmp_path / "recipe.toml").write_text(content)
        return read_recipe(tmp_path / "recipe.toml")

    return text


def test_a_file_gives_the_settings_that_it_names(read):
    settings = read('steps = 5\nlearning_rate = 1\n[validation]\nevery = 0\n[distillation]\nattention = "act"')
    assert (settings.steps, settings.learning_rate, settings.batch_size) == (5, 1.0, None)
    assert (settings.validation.every, settings.validation.images) == (0, 200)
    assert settings.distillation.attention == "act"
    assert read("") == RecipeSettings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("learning_rat = 1", "unknown setting learning_rat; did you mean learning_rate?"),
        ("clip = 1", "did you mean clip_norm?"),
        ("[validation]\never = 1", "unknown setting validation.ever; did you mean every?"),
        ("[distillation]\nattention = 'act'\nlayer = 'all'", "did you mean layers?"),
        ("zzz = 1", "unknown setting zzz$"),
        ("steps = 0", "steps must be greater than or equal to 1, not 0"),
        ("batch_size = 0", "batch_size must"),
        ("ema_decay = 1.0", "ema_decay must be less than 1, not 1.0"),
        ("learning_rate = -1.0", "learning_rate must"),
        ("weight_decay = nan", "weight_decay must be a finite number"),
        ("clip_norm = 0.0", "clip_norm must"),
        ("colour = 1.0", "colour must"),
        ("steps = '5'", "steps must be a valid integer, not '5'"),
        ("optimizer = 'sgd'", "optimizer must be 'adamw' or 'muon', not 'sgd'"),
        ("stages = '5'", "stages: '5' is no stage"),
        ("[distillation]\nweight = 1", "distillation.attention is missing"),
        ("[distillation]\nattention = 'exact'", "exact attention needs no distillation"),
        ("[distillation]\nattention = 'act:Q=1'", "is not an option of act"),
        ("steps = 1\nminutes = 5", "give one of steps, epochs and minutes, not steps and minutes"),
        ("steps = 10\nstages = '9:64-80'", "the stages have 9 steps, the run 10"),
        ("epochs = 10\nstages = '9:64-80'", "leave out epochs, or the stages"),
        ("refine_boxes = true\nhybrid = true", "learns by itself"),
        ("refine_boxes = true\n[distillation]\nattention = 'act'", "learns by itself"),
        ("steps = ", "is not TOML"),
    ],
)
def test_unknown_wrong_and_contradictory_settings_are_refused_by_name(read, tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint if complaint.endswith("$") else re.escape(complaint)) as caught:
        read(text)
    assert str(tmp_path / "recipe.toml") in str(caught.value)


def test_all_problems_of_a_file_are_named_at_once(read):
    with pytest.raises(ValueError, match=r"(?s)colour.*seed"):
        read("seed = -1\ncolour = 2")


def test_options_win_over_the_file(read):
    settings = read("epochs = 3\nbatch_size = 4\nseed = 5").updated(steps=7, batch_size=2, seed=None)
    assert (settings.steps, settings.epochs, settings.batch_size, settings.seed) == (7, None, 2, 5)
    with pytest.raises(ValueError, match="the stages have 9 steps, the run 7"):
        read("stages = '9:64-80'").updated(steps=7)


@pytest.mark.parametrize("recipe", [replace(DISTILLED, stages=Curriculum.parse("10:64-80"), hybrid=Hybrid()), RECIPE])
def test_an_effective_recipe_is_read_back_as_it_was_written(read, recipe):
    asked = read("minutes = 5\n[run]\nname = 'caf\u00e9 \"3\"'")
    settings = asked.effective(recipe, 3)
    assert read(as_toml(settings)).model_dump() == settings.model_dump()
    assert (settings.minutes, settings.steps, settings.refinement_steps) == (None, 10, 3)
    assert settings.run.name == 'caf\u00e9 "3"'


@pytest.mark.parametrize("name", ["pages-small", "pages-small-refinement", "pages-large", "pages-large-refinement"])
def test_the_recipes_of_the_repository_are_read(name):
    settings = read_recipe(ROOT / "models" / "training" / "recipes" / f"{name}.toml")
    assert settings.refine_boxes == name.endswith("-refinement")


def documented(section, prefix=""):
    """A row of the documentation for each setting."""
    for name, field in section.model_fields.items():
        tables = [kind for kind in (field.annotation, *get_args(field.annotation)) if hasattr(kind, "model_fields")]
        if tables:
            yield from documented(tables[0], f"{name}.")
        else:
            fixed = "required" if field.is_required() else str(field.default).lower()
            default = (field.json_schema_extra or {}).get("default", fixed)
            yield f"| `{prefix}{name}` | {default} | {field.description} |"


def test_the_documentation_has_every_setting_with_its_default_and_meaning():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    missing = [row for row in documented(RecipeSettings) if row not in page]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"learning_rate": 2e-4}, "learning_rate was 0.0001, not 0.0002"),
        ({"schedule": Schedule("cosine")}, "schedule was step, not cosine"),
        ({"hybrid": Hybrid()}, "hybrid was False, not True"),
        ({"distillation": DISTILLED.distillation}, "distillation.attention was None, not act:L=16,r=2"),
        ({"learn_norms": True}, "learn_norms was False, not True"),
        ({"colour": 0.2}, "colour was 0.0, not 0.2"),
        ({"stages": Curriculum.parse("10:64-80")}, "stages was None, not 10:64-80"),
        ({"steps": 11}, "steps was 10, not 11"),
        ({"refine_boxes": True}, "refine_boxes was False, not True"),
        ({"model": "other"}, "model was pages-small, not other"),
    ],
)
def test_a_changed_setting_of_a_begun_run_is_named(changed, complaint):
    assert conflicts(RECIPE, plain(RECIPE)) == []
    assert complaint in conflicts(replace(RECIPE, **changed), plain(RECIPE))


def test_distillation_that_is_left_out_of_a_begun_run_is_named():
    assert "distillation.weight was 20.0, not None" in conflicts(RECIPE, plain(DISTILLED))


def test_data_may_move():
    assert conflicts(replace(RECIPE, data="elsewhere"), plain(RECIPE)) == []


@pytest.mark.parametrize("recipe", [DISTILLED, for_refinement("pages-small", "pages", 10)])
def test_a_checkpoint_holds_the_settings_as_plain_values(recipe, tmp_path):
    torch.save(plain(recipe), tmp_path / "settings.pt")
    assert torch.load(tmp_path / "settings.pt", weights_only=True) == plain(recipe)


def test_a_second_attention_is_one_that_approximates(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('second_attention = "tangent:C=16"\n')
    assert read_recipe(path).second_attention == "tangent:C=16"
    path.write_text('second_attention = "exact"\n')
    with pytest.raises(ValueError, match="exact attention is the first"):
        read_recipe(path)
    path.write_text('second_attention = "act"\nrefine_boxes = true\n')
    with pytest.raises(ValueError, match="second_attention is for training the model itself"):
        read_recipe(path)
