"""Whole programmes on a tiny model: planned, run, refined, reported; stopped between and gone on with."""

import json
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from models.data.write_pages import write_pages
from models.detector import load_detector
from models.training import programme
from models.training.interruption import Interruption
from models.training.plan.decisions import Decisions
from models.training.plan.planning import Length, Request
from models.training.programme import REFINEMENT, UNREFINED, carry_out, made_plan
from models.training.run import BEST, CHECKPOINT, MODEL, RunOptions
from models.training.starting_point import StartingPoint, with_box_refinement
from models.weights import resolve, save_checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def refining_file(tiny_detr, tmp_path):
    start = with_box_refinement(StartingPoint(tiny_detr.config, tiny_detr.state_dict()))
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, start.weights, start.config)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_pages(folder, train=4, val=2, height=120, width=96)
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace('"figure"', '"picture"'))
    return folder


def request(model, data, steps=4, refinement_steps=2, **changes):
    return Request(str(model), str(data), Length(steps=steps), {"batch_size": 2, **changes}, False, refinement_steps)


def surroundings(output, **changed):
    return RunOptions(output, **({"workers": 0, "threads": 1, "log_every": 1} | changed))


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_labels_become_a_refined_model_with_pictures_to_look_at(refining_file, data, tmp_path, capsys):
    output = tmp_path / "run"
    assert carry_out(request(refining_file, data), surroundings(output))
    said = capsys.readouterr().err
    assert "4 images to learn from; classes new to the model: picture" in said
    assert "all of the model learns anew" in said
    assert "plan: 4 steps of 2 images (2 passes) with muon" in said
    assert "then 2 steps of the box refinement" in said
    assert re.search(r"about (a minute|\d+ minutes) on this machine", said)
    assert f"act-detr serve --model {output / BEST}" in said
    assert Decisions.read(output).survey.far
    assert [row["step"] for row in rows(output) if "AP/exact" in row] == [1, 2, 3, 4]
    assert {"iou/given", "iou/stage 2"} <= rows(output / REFINEMENT)[0].keys()
    assert resolve(str(output / UNREFINED)).config.box_refinement is None
    for name in (MODEL, BEST):
        assert load_detector(str(output / name)).labels == ("text", "title", "list", "table", "picture")
    for name in ("curves.png", "validation.png"):
        with Image.open(output / name) as image:
            assert min(image.size) > 100


def test_what_is_served_is_the_better_of_refined_and_unrefined(refining_file, data, tmp_path):
    output = tmp_path / "run"
    assert carry_out(request(refining_file, data), surroundings(output))
    before = max(row["AP/exact"] for row in rows(output) if "AP/exact" in row)
    after = max(row["AP/exact"] for row in rows(output / REFINEMENT) if "AP/exact" in row)
    served = (output / BEST).read_bytes()
    assert served == (output / REFINEMENT / BEST if after >= before else output / UNREFINED).read_bytes()


@pytest.mark.parametrize("stop_in", ["run", "refinement"])
def test_the_same_command_goes_on_where_it_was_stopped(refining_file, data, tmp_path, monkeypatch, stop_in):
    whole, stopped = (surroundings(tmp_path / name, name="same", eval_every=2) for name in ("whole", "stopped"))
    asked = request(refining_file, data)
    assert carry_out(asked, whole)
    calls = []

    def one_run(recipe, *arguments, **more):
        calls.append(recipe.refine_boxes)
        if recipe.refine_boxes == (stop_in == "refinement"):
            interruption = Interruption()
            interruption.wanted = True
            recipe, own, device, _, *rest = (recipe, *arguments)
            return original(recipe, own, device, interruption, *rest)
        return original(recipe, *arguments, **more)

    original = programme.one_run
    with monkeypatch.context() as patched:
        patched.setattr(programme, "one_run", one_run)
        assert not carry_out(asked, stopped)
    assert not (stopped.output / "curves.png").exists()
    monkeypatch.setattr("models.training.plan.decisions.cost_of", None)  # nothing is timed again
    assert carry_out(asked, stopped)
    for name in (MODEL, BEST, UNREFINED):
        ours, theirs = (resolve(str(each.output / name)).state_dict for each in (stopped, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert carry_out(asked, stopped)  # it is at its end already


def test_minutes_become_steps_that_are_remembered(refining_file, data, tmp_path):
    output = tmp_path / "run"
    output.mkdir()
    asked = replace(request(refining_file, data, refinement_steps=None), length=Length(minutes=2))
    first, _ = made_plan(asked, surroundings(output), CPU)
    assert first.recipe.steps > 20
    decided = Decisions.read(output)
    assert decided.steps == first.recipe.steps
    assert decided.seconds == pytest.approx(120, rel=0.3)  # what the plan says, whatever it takes
    again, _ = made_plan(asked, surroundings(output), CPU)
    assert again == first


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        Decisions.read(tmp_path)


def test_minutes_are_for_labelled_images(refining_file, tmp_path):
    with pytest.raises(ValueError, match="minutes is for labelled images"):
        carry_out(Request(str(refining_file), "pages", Length(minutes=2)), surroundings(tmp_path / "run"))


def test_data_without_a_validation_split_is_said(refining_file, data, tmp_path, capsys):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").symlink_to(data / "train2017")
    (tmp_path / "annotations" / "instances_train2017.json").symlink_to(
        data / "annotations" / "instances_train2017.json"
    )
    assert carry_out(request(refining_file, tmp_path, 2, 0), surroundings(tmp_path / "run"))
    assert "no validation split" in capsys.readouterr().err
    assert carry_out(request(refining_file, tmp_path, 2, 0), surroundings(tmp_path / "asked", eval_every=0))
    assert "no validation split" not in capsys.readouterr().err


def test_a_run_without_validation_serves_its_last_weights(refining_file, data, tmp_path):
    output = tmp_path / "run"
    assert carry_out(request(refining_file, data), surroundings(output, eval_every=0))
    assert not (output / BEST).exists()
    assert not (output / "validation.png").exists()
    assert resolve(str(output / MODEL)).config.box_refinement is not None
    assert (output / CHECKPOINT).exists()
