from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.cli.train import train

app = typer.Typer()
app.command()(train)

RECIPE = """
stages = "1:64-64"
batch_size = 4
learning_rate = 2e-4
precision = "bf16"
[distillation]
attention = "act:L=16,r=2"
weight = 7
[validation]
every = 0
[run]
name = "mine"
threads = 1
"""


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_has_every_option() -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", run("--help").output)
    options = "data output model recipe steps epochs minutes batch-size seed device workers annotations val-annotations"
    assert [option for option in options.split() if f"--{option} " not in text] == []


def test_recipe_and_options_reach_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(RECIPE)
    output = tmp_path / "run"
    result = run(
        *("--data", "pages", "--model", "pages-small", "--output", output, "--recipe", tmp_path / "mine.toml"),
        *("--batch-size", 1, "--seed", 3, "--device", "cpu", "--workers", 0),
    )
    assert result.exit_code == 0, result.output
    assert "is ready" in result.stderr

    import torch

    from models.weights import read_config

    settings = torch.load(output / "checkpoint.pt", weights_only=True)["recipe"]
    expected = {
        "steps": 1,
        "stages": "1:64-64",
        "batch_size": 1,
        "seed": 3,
        "learning_rate": 2e-4,
        "precision": "bf16",
        "distillation.attention": "act:L=16,r=2",
        "distillation.weight": 7.0,
        "hybrid": False,
    }
    assert {name: settings[name] for name in expected} == expected
    config = read_config(output / "model.safetensors")
    assert config is not None
    assert config.name == "mine"
    assert json.loads((output / "metrics.jsonl").read_text())["step"] == 1


@pytest.mark.parametrize(
    ("recipe", "options", "status", "complaint"),
    [
        ("", (), 2, "steps or stages"),
        ("", ("--steps", 1, "--epochs", 1), 2, "one of steps, epochs and minutes"),
        ("", ("--minutes", 5), 2, "minutes is for labelled images"),
        ("", ("--steps", 1, "--annotations", "there.json"), 2, "generated pages come with their annotations"),
        ("steps = 1\nlearning_rat = 1", (), 2, "did you mean learning_rate?"),
        ("refine_boxes = true", ("--steps", 1, "--model", "pages-small:scratch"), 2, "no boxes to refine"),
        ("", ("--steps", 1, "--device", "cuda:99"), 2, "cuda:99"),
        ("", ("--steps", 1, "--model", "nothing-here"), 1, "nothing-here"),
        ("", ("--steps", 1, "--model", "nothing-here:scratch"), 2, "nothing-here"),
        ("", ("--steps", 1, "--data", "nowhere"), 2, "nowhere"),
        ("[validation]\ndata = 'nowhere'", ("--steps", 1), 2, "nowhere"),
    ],
)
def test_mistakes_are_one_red_line(
    tmp_path: Path, recipe: str, options: tuple[object, ...], status: int, complaint: str
) -> None:
    (tmp_path / "mine.toml").write_text(recipe)
    common = ("--data", "pages", "--output", tmp_path, "--device", "cpu", "--recipe", tmp_path / "mine.toml")
    result = run(*common, *options)
    assert result.exit_code == status
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    result = run("--data", "pages", "--output", tmp_path, "--recipe", "nowhere.toml")
    assert (result.exit_code, "nowhere.toml" in result.stderr) == (2, True)
