import math
from dataclasses import replace

import pytest
import torch

from models.config import pages_small
from models.training.curriculum import Curriculum, Stage
from models.training.export import export
from models.training.train import Recipe, Trainer, parse_stages
from models.weights import resolve

SMALL = replace(pages_small(), encoder_layers=1, decoder_layers=1, queries=12)
RECIPE = Recipe(Curriculum((Stage(4, (96, 112)),), warmup_steps=1), batch_size=2, extra_queries=8, repeats=2)


def trainer(folder, recipe=RECIPE):
    folder.mkdir(exist_ok=True)
    return Trainer(SMALL, recipe, folder)


def test_stages_are_read_from_text():
    assert parse_stages("2400:192-224,90:336-368") == (Stage(2400, (192, 224)), Stage(90, (336, 368)))


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run(save_every=100, log_every=100)
    killed = trainer(tmp_path / "killed", replace(RECIPE, curriculum=replace(RECIPE.curriculum)))
    batches = iter_batches(RECIPE, 2)
    killed.model.train()
    for batch in batches:
        killed.update(killed.model, batch)
        killed.step += 1
    killed.save()
    resumed = trainer(tmp_path / "killed")
    resumed.resume()
    assert resumed.step == 2
    resumed.run(save_every=100, log_every=100)
    ours, expected = resumed.model.state_dict(), whole.model.state_dict()
    for key in expected:
        torch.testing.assert_close(ours[key], expected[key], msg=key)


def iter_batches(recipe, count):
    from models.training.page_stream import PageStream

    stream = PageStream(recipe.curriculum, recipe.batch_size, 0)
    return [stream.batch(step) for step in range(count)]


def test_the_loss_falls_on_pages_seen_again_and_again(tmp_path):
    recipe = replace(RECIPE, learning_rate=1e-3, curriculum=Curriculum((Stage(1000, (96, 112)),), warmup_steps=1))
    run = trainer(tmp_path, recipe)
    (batch,) = iter_batches(recipe, 1)
    run.model.train()
    losses = [run.update(run.model, batch).total.item() for _ in range(25)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < 0.75 * losses[0]


def test_the_exported_model_is_the_averaged_one_without_training_parts(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    run.run(save_every=100, log_every=100)
    monkeypatch.setattr("models.training.export.pages_small", lambda: SMALL)
    export(run.checkpoint, tmp_path / "model.safetensors")
    loaded = resolve(str(tmp_path / "model.safetensors"))
    averaged = run.averaged.module.state_dict()
    assert loaded.config == SMALL
    assert set(loaded.state_dict) == {key for key in averaged if not key.endswith("num_batches_tracked")}
    assert all(torch.equal(loaded.state_dict[key], averaged[key]) for key in loaded.state_dict)


@pytest.mark.slow
def test_two_processes_train_as_one_command(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "models.training.train"]
    options = ["--output", str(tmp_path), "--stages", "2:64-64", "--batch-size", "2"]
    subprocess.run([*command, *options], check=True, timeout=200, capture_output=True)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
