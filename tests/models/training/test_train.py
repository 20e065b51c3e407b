"""Whole runs: killed and resumed, stopped, shared among processes, refining boxes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from models.attention_config import AttentionConfig
from models.config import BoxRefinementConfig
from models.named_models import pages_small
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe, for_refinement
from models.training.plan.recipe_file import RecipeSettings, RunSettings, ValidationSettings, as_toml
from models.training.run import CHECKPOINT, MODEL
from models.training.train import train
from models.weights import resolve

SCRIPT = "import typer; from service.cli.train import train; typer.run(train)"
CPU = torch.device("cpu")


@pytest.fixture
def options(quick):
    """A function that returns options for a run without validation."""
    return partial(quick, every=0)


def page_recipe(model, steps, **changes):
    settings = {
        "batch_size": 2,
        "hybrid": Hybrid(),
        "distillation": Distillation(AttentionConfig.act(8, 2.0)),
        "stages": Curriculum.parse(f"{steps}:64-64"),
    }
    return Recipe(str(model), "pages", steps, **settings | changes)


def command(recipe, output, save_every=100, workers=0):
    """What a person types to make a run of this recipe."""
    settings = RecipeSettings(
        run=RunSettings(threads=1, log_every=1, save_every=save_every), validation=ValidationSettings(every=0)
    ).effective(recipe, 0)
    file = output.with_suffix(".toml")
    file.write_text(as_toml(settings))
    options = ("--model", recipe.model, "--data", "pages", "--recipe", file, "--output", output)
    return [SCRIPT, *map(str, (*options, "--device", "cpu", "--workers", workers))]


def started(arguments):
    return subprocess.Popen(
        [sys.executable, "-c", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )


def losses(logged):
    return [(row["step"], row["total"], row["one_to_one/l1"], row["distillation"]) for row in logged if "total" in row]


def wait_for_step(process, output, step, rows):
    end = time.monotonic() + 240
    while not (logged := rows(output)) or logged[-1]["step"] < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def same_models(one, other, name=MODEL):
    ours, theirs = (resolve(str(folder / name)).state_dict for folder in (one, other))
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_a_killed_and_a_stopped_run_resume_with_the_losses_of_a_whole_one(tiny_file, tmp_path, options, rows):
    recipe = page_recipe(tiny_file, 40)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(recipe, options(whole))
    killed = started(command(recipe, broken, save_every=4))
    wait_for_step(killed, broken, 10, rows)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert torch.load(broken / CHECKPOINT, weights_only=True)["step"] < recipe.steps
    stopped = started(command(recipe, broken, save_every=4, workers=1))
    wait_for_step(stopped, broken, rows(broken)[-1]["step"] + 4, rows)
    os.killpg(stopped.pid, signal.SIGTERM)  # as Ctrl-C and `timeout` do: the worker gets it as well
    assert stopped.wait(60) == 0
    said = stopped.stderr.read().decode()
    assert "going on after step" in said
    assert f"stopped after step {torch.load(broken / CHECKPOINT, weights_only=True)['step']}" in said
    assert train(recipe, options(broken))
    assert losses(rows(broken)) == losses(rows(whole))
    assert same_models(broken, whole)


@pytest.mark.slow
def test_two_processes_with_half_the_batch_each_train_as_one(tiny_file, tmp_path, options, rows):
    """Distilling from one cluster: sums over other batches round otherwise, and no rounding takes a query out of it."""
    one, two = tmp_path / "one", tmp_path / "two"
    recipe = page_recipe(tiny_file, 3, batch_size=4, distillation=Distillation(AttentionConfig.act(1, 1e6)))
    assert train(recipe, options(one))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", sys.executable, "-c"]
    arguments = [sys.executable, *launcher, *command(recipe, two)]
    subprocess.run(arguments, check=True, timeout=280, capture_output=True)
    assert [row["step"] for row in rows(two)] == [1, 2, 3]
    np.testing.assert_allclose(losses(rows(two)), losses(rows(one)), rtol=2e-4, atol=1e-6)


def test_the_attention_that_was_distilled_becomes_the_default(tiny_file, tmp_path, options, rows):
    assert train(page_recipe(tiny_file, 1), options(tmp_path, name="distilled", every=1, images=1))
    config = resolve(str(tmp_path / MODEL)).config
    assert (config.name, config.act_L, config.act_r) == ("distilled", 8, 2.0)
    assert {"AP/exact", "AP/act:L=8,r=2"} < rows(tmp_path)[-1].keys()


def test_a_run_cannot_change_its_settings_or_its_classes(tiny_file, picture_pages, tmp_path, options):
    recipe = page_recipe(tiny_file, 1)
    assert train(recipe, options(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"learning_rate was 0\.0001, not 0\.1.*recipe\.toml.*another --output"):
        train(replace(recipe, learning_rate=0.1), options(tmp_path / "run"))
    with pytest.raises(ValueError, match="other classes: text, title, list, table, figure"):
        train(replace(recipe, data=str(picture_pages)), options(tmp_path / "run"))


def test_pages_small_is_named_after_itself_and_vouches_for_nothing_once_it_is_trained(tmp_path, options):
    recipe = Recipe("pages-small", "pages", 1, batch_size=1, stages=Curriculum.parse("1:64-64"))
    assert train(recipe, options(tmp_path))
    assert resolve(str(tmp_path / MODEL)).config == replace(pages_small(), vouched=(), trained_sides=(64, 64))


def test_a_trained_model_is_given_a_box_refinement_of_its_own(tiny_file, tmp_path, options, rows):
    recipe = replace(for_refinement(str(tiny_file), "pages", 2), batch_size=2, stages=Curriculum.parse("2:64-64"))
    run, again = tmp_path / "run", tmp_path / "again"
    assert train(recipe, options(run))
    assert [row["step"] for row in rows(run)] == [1, 2]
    assert {"total", "iou/given", "iou/stage 1", "iou/stage 2"} < rows(run)[0].keys()
    made, before = resolve(str(run / MODEL)), resolve(str(tiny_file))
    assert made.config == replace(before.config, box_refinement=BoxRefinementConfig())
    assert all(torch.equal(made.state_dict[key], value) for key, value in before.state_dict.items())
    assert train(recipe, options(run))  # is at its end already
    assert train(replace(recipe, model=str(run / MODEL)), options(again))
    assert resolve(str(again / MODEL)).config == made.config
