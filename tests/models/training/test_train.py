"""Whole runs: killed and resumed, stopped, shared among processes, and on a data set with other classes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import AttentionConfig, BoxRefinementConfig, pages_small
from models.data.write_pages import write_pages
from models.detector import load_detector
from models.training.interruption import Interruption
from models.training.objective.distillation import Distillation
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe, for_refinement
from models.training.run import BEST, CHECKPOINT, MODEL, Run, RunOptions
from models.training.train import prepare, train
from models.weights import resolve, save_checkpoint

SCRIPT = "import typer; from service.cli.train import train; typer.run(train)"


@pytest.fixture
def tiny_file(tiny_detr, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, tiny_detr.state_dict(), tiny_detr.config)
    return path


def surroundings(output, **changed):
    return RunOptions(output, **({"workers": 0, "threads": 1, "log_every": 1, "eval_every": 0} | changed))


def page_recipe(model, steps, batch_size=2):
    return Recipe(
        str(model),
        "pages",
        steps,
        batch_size=batch_size,
        hybrid=Hybrid(),
        distillation=Distillation(AttentionConfig.act(8, 2.0)),
        stages=Curriculum.parse(f"{steps}:64-64"),
    )


def command(model, output, steps, *options):
    return [
        *("--model", model, "--data", "pages", "--stages", f"{steps}:64-64", "--output", output, "--device", "cpu"),
        *("--hybrid", "--distil", "act:L=8,r=2", "--workers", 0, "--threads", 1, "--log-every", 1, "--eval-every", 0),
        *("--ema", 0.999),
        *options,
    ]


def started(arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def losses(output):
    lines = (output / "metrics.jsonl").read_text().splitlines() if (output / "metrics.jsonl").exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [(row["step"], row["total"], row["one_to_one/l1"], row["distillation"]) for row in rows if "total" in row]


def wait_for_step(process, output, step):
    end = time.monotonic() + 240
    while not (found := losses(output)) or found[-1][0] < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_run_that_is_killed_and_stopped_has_the_losses_of_one_that_is_not(tiny_file, tmp_path):
    steps = 40
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(page_recipe(tiny_file, steps), surroundings(whole))
    arguments = command(tiny_file, broken, steps, "--batch-size", 2, "--save-every", 4)
    killed = started(arguments)
    wait_for_step(killed, broken, 10)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert torch.load(broken / CHECKPOINT, weights_only=True)["step"] < steps
    stopped = started([*arguments, "--workers", 1])
    wait_for_step(stopped, broken, losses(broken)[-1][0] + 4)
    os.killpg(stopped.pid, signal.SIGTERM)  # as Ctrl-C and `timeout` do: the worker gets it as well
    assert stopped.wait(60) == 0
    said = stopped.stderr.read().decode()
    assert "going on after step" in said
    assert f"stopped after step {torch.load(broken / CHECKPOINT, weights_only=True)['step']}" in said
    assert train(page_recipe(tiny_file, steps), surroundings(broken))
    assert losses(broken) == losses(whole)
    ours, theirs = (resolve(str(folder / MODEL)).state_dict for folder in (broken, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_two_processes_with_half_the_batch_each_train_as_one(tiny_file, tmp_path):
    """Distilling from one cluster: sums over other batches round otherwise, and no rounding takes a query out of it."""
    one, two = tmp_path / "one", tmp_path / "two"
    recipe = replace(page_recipe(tiny_file, 3, batch_size=4), distillation=Distillation(AttentionConfig.act(1, 1e6)))
    assert train(recipe, surroundings(one))
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", sys.executable, "-c", SCRIPT]
    arguments = command(tiny_file, two, 3, "--batch-size", 4, "--distil", "act:L=1,r=1e6")
    subprocess.run([sys.executable, *launcher, *map(str, arguments)], check=True, timeout=280, capture_output=True)
    assert [row[0] for row in losses(two)] == [1, 2, 3]
    np.testing.assert_allclose(losses(two), losses(one), rtol=2e-4, atol=1e-6)


def test_own_labels_become_a_model_that_is_loaded_as_it_is(tiny_file, tmp_path):
    data, output = tmp_path / "data", tmp_path / "leaflets"
    write_pages(data, train=3, val=2, height=120, width=96)
    for path in (data / "annotations").iterdir():
        path.write_text(path.read_text().replace('"figure"', '"picture"'))
    recipe = Recipe(str(tiny_file), str(data), 3, batch_size=2)
    assert train(recipe, surroundings(output, eval_every=2))
    for name in (MODEL, BEST):
        detector = load_detector(str(output / name))
        assert detector.labels == ("text", "title", "list", "table", "picture")
        assert detector.name == "leaflets"
        assert len(detector.detect(np.full((90, 70, 3), 255, np.uint8)).detections) == 9
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "AP/exact" in row] == [2, 3]
    best = torch.load(output / CHECKPOINT, weights_only=True)["best"]
    assert best == max(row["AP/exact"] for row in rows if "AP/exact" in row)


def test_the_attention_that_was_distilled_becomes_the_default(tiny_file, tmp_path):
    recipe = page_recipe(tiny_file, 1)
    assert train(recipe, surroundings(tmp_path / "run", name="distilled", eval_every=1, held_out_images=1))
    config = resolve(str(tmp_path / "run" / MODEL)).config
    assert (config.name, config.act_L, config.act_r) == ("distilled", 8, 2.0)
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"AP/exact", "AP/act:L=8,r=2"} < row.keys()


def test_a_run_cannot_change_its_settings_or_its_classes(tiny_file, tmp_path):
    recipe = page_recipe(tiny_file, 1)
    assert train(recipe, surroundings(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"learning_rate was 0\.0001, not 0\.1"):
        train(replace(recipe, learning_rate=0.1), surroundings(tmp_path / "run"))
    data = tmp_path / "data"
    write_pages(data, train=1, val=0, height=120, width=96)
    for path in (data / "annotations").iterdir():
        path.write_text(path.read_text().replace('"figure"', '"picture"'))
    with pytest.raises(ValueError, match="other classes: text, title, list, table, figure"):
        train(replace(recipe, data=str(data)), surroundings(tmp_path / "run"))


def test_pages_small_is_named_after_itself(tmp_path):
    recipe = Recipe("pages-small", "pages", 1, batch_size=1, stages=Curriculum.parse("1:64-64"))
    assert train(recipe, surroundings(tmp_path))
    assert resolve(str(tmp_path / MODEL)).config == pages_small()


def test_a_trained_model_is_given_a_box_refinement_of_its_own(tiny_file, tmp_path):
    recipe = for_refinement(str(tiny_file), "pages", 2)
    recipe = replace(recipe, batch_size=2, stages=Curriculum.parse("2:64-64"))
    assert train(recipe, surroundings(tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {"total", "iou/given", "iou/stage 1", "iou/stage 2"} < rows[0].keys()
    made, before = resolve(str(tmp_path / "run" / MODEL)), resolve(str(tiny_file))
    assert made.config == replace(before.config, box_refinement=BoxRefinementConfig())
    assert all(torch.equal(made.state_dict[key], value) for key, value in before.state_dict.items())
    assert train(recipe, surroundings(tmp_path / "run"))  # is at its end already
    again = replace(recipe, model=str(tmp_path / "run" / MODEL))
    assert train(again, surroundings(tmp_path / "again"))
    assert resolve(str(tmp_path / "again" / MODEL)).config == made.config


def test_a_run_that_refines_goes_on_after_a_stop(tiny_file, tmp_path):
    stages = Curriculum.parse("5:64-80")
    recipe = replace(for_refinement(str(tiny_file), "pages", 5), batch_size=2, stages=stages)
    whole, stopped = (surroundings(tmp_path / name) for name in ("whole", "stopped"))
    assert train(recipe, whole)
    for _ in range(2):  # each makes one step, then stops
        asked = Interruption()
        asked.wanted = True
        stopped.output.mkdir(exist_ok=True)
        assert not Run(prepare(recipe, stopped, torch.device("cpu"))[0], stopped, torch.device("cpu")).to_the_end(
            asked, []
        )
        torch.manual_seed(99)
    assert train(recipe, stopped)
    rows = [
        [json.loads(line) for line in (own.output / "metrics.jsonl").read_text().splitlines()]
        for own in (whole, stopped)
    ]
    totals, others = ([(row["step"], row["total"], row["iou/stage 2"]) for row in own] for own in rows)
    assert totals == others
    assert len({total for _, total, _ in totals}) == 5
    ours, theirs = (resolve(str(own.output / MODEL)).state_dict for own in (stopped, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
