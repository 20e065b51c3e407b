"""Whole programmes on a tiny model: planned, run, refined, reported, stopped in between and resumed."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from models.data.write_pages import write_pages
from models.detector import load_detector
from models.training import programme
from models.training.interruption import Interruption
from models.training.plan.decisions import Decisions
from models.training.plan.planning import Request
from models.training.plan.recipe_file import RecipeSettings, read_recipe
from models.training.programme import REFINEMENT, UNREFINED, carry_out, made_plan
from models.training.run import BEST, CHECKPOINT, MODEL
from models.training.starting_point import with_box_refinement
from models.weights import resolve, save_checkpoint


@pytest.fixture
def model(start, tmp_path):
    """The tiny model with a box refinement."""
    refining = with_box_refinement(start)
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, refining.weights, refining.config)
    return path


def request(model, data, **settings):
    defaults = {"steps": 4, "refinement_steps": 2, "batch_size": 2}
    return Request(str(model), str(data), RecipeSettings(**defaults | settings))


def test_labels_become_a_refined_model_with_pictures_to_look_at(model, picture_pages, tmp_path, capsys, quick, rows):
    output = tmp_path / "run"
    assert carry_out(request(model, picture_pages), quick(output, every=2))
    said = capsys.readouterr().err
    assert "4 images to learn from; classes new to the model: picture" in said
    assert "all of the model learns" in said
    assert "plan: 4 steps of 2 images (2 passes) with muon" in said
    assert "then 2 steps of the box refinement" in said
    assert re.search(r"about (a minute|\d+ minutes) on this machine", said)
    assert f"act-detr serve --model {output / BEST}" in said
    assert Decisions.read(output).survey.far
    assert resolve(str(output / UNREFINED)).config.box_refinement is None
    for name in (MODEL, BEST):
        detector = load_detector(str(output / name))
        assert (detector.name, detector.labels) == ("run", ("text", "title", "list", "table", "picture"))
        assert len(detector.detect(np.full((90, 70, 3), 255, np.uint8)).detections) == 9
    for name in ("curves.png", "validation.png"):
        with Image.open(output / name) as image:
            assert min(image.size) > 100
    before = {row["step"]: row["AP/exact"] for row in rows(output) if "AP/exact" in row}
    after = [row["AP/exact"] for row in rows(output / REFINEMENT) if "AP/exact" in row]
    assert list(before) == [2, 4]
    assert torch.load(output / CHECKPOINT, weights_only=True)["best"] == max(before.values())
    assert {"iou/given", "iou/stage 2"} <= rows(output / REFINEMENT)[0].keys()
    better = output / REFINEMENT / BEST if max(after) >= max(before.values()) else output / UNREFINED
    assert (output / BEST).read_bytes() == better.read_bytes()


def test_the_recipe_that_a_run_writes_makes_the_same_model_again(model, picture_pages, tmp_path, quick):
    output, again = tmp_path / "run", tmp_path / "again"
    assert carry_out(request(model, picture_pages, steps=None, epochs=1, minutes=None), quick(output, name="same"))
    settings = read_recipe(output / "recipe.toml")
    assert (settings.steps, settings.epochs, settings.optimizer, settings.refinement_steps) == (2, None, "muon", 2)
    repeated = Request(str(model), str(picture_pages), settings)
    assert carry_out(repeated, quick(again, name="same"))
    assert (again / MODEL).read_bytes() == (output / MODEL).read_bytes()
    assert carry_out(repeated, quick(output, name="same"))  # the run itself takes it for its own
    changed = Request(repeated.model, repeated.data, settings.updated(batch_size=1))
    with pytest.raises(ValueError, match="batch_size was 2, not 1"):
        carry_out(changed, quick(output))
    assert read_recipe(output / "recipe.toml") == settings


@pytest.mark.parametrize("stop_in", ["run", "refinement"])
def test_the_same_command_resumes_a_stopped_programme(model, picture_pages, tmp_path, monkeypatch, quick, stop_in):
    whole, stopped = (quick(tmp_path / name, name="same", every=2) for name in ("whole", "stopped"))
    asked = request(model, picture_pages)
    assert carry_out(asked, whole)
    one_run = programme.one_run

    def stopped_run(recipe, options, data, device, interruption, *rest):
        if recipe.refine_boxes == (stop_in == "refinement"):
            interruption = Interruption()
            interruption.wanted = True
        return one_run(recipe, options, data, device, interruption, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(programme, "one_run", stopped_run)
        assert not carry_out(asked, stopped)
    assert not (stopped.output / "curves.png").exists()
    monkeypatch.setattr("models.training.plan.decisions.cost_of", None)  # nothing is timed again
    assert carry_out(asked, stopped)
    for name in (MODEL, BEST, UNREFINED):
        ours, theirs = (resolve(str(each.output / name)).state_dict for each in (stopped, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert carry_out(asked, stopped)  # it is at its end already


def test_minutes_become_steps_that_are_remembered(model, picture_pages, tmp_path, quick):
    options = quick(tmp_path / "run")
    options.output.mkdir()
    asked = request(model, picture_pages, steps=None, minutes=2, refinement_steps=None)
    data, cpu = options.open_data(str(picture_pages)), torch.device("cpu")
    first, _ = made_plan(asked, options, data, cpu)
    assert first.recipe.steps > 20
    decided = Decisions.read(options.output)
    assert decided.steps == first.recipe.steps
    assert decided.seconds == pytest.approx(120, rel=0.3)  # what the plan says, whatever it takes
    again, _ = made_plan(asked, options, data, cpu)
    assert again == first


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        Decisions.read(tmp_path)


def test_minutes_are_for_labelled_images(model, tmp_path, quick):
    with pytest.raises(ValueError, match="minutes is for labelled images"):
        carry_out(request(model, "pages", steps=None, minutes=2), quick(tmp_path / "run"))


@pytest.mark.parametrize("every", [None, 0])
def test_a_run_without_validation_serves_its_last_weights(model, tmp_path, capsys, quick, every):
    """Because the data has no validation split, which is said, or because no validation is wanted."""
    data, output = tmp_path / "data", tmp_path / "run"
    write_pages(data, train=2, val=1, height=120, width=96)
    if every is None:
        (data / "annotations" / "instances_val2017.json").unlink()
    assert carry_out(request(model, data, steps=2), quick(output, every=every))
    assert ("no validation split" in capsys.readouterr().err) == (every is None)
    assert not (output / BEST).exists()
    assert not (output / "validation.png").exists()
    assert resolve(str(output / MODEL)).config.box_refinement is not None
    assert (output / CHECKPOINT).exists()
