from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.cli.train import _attention, train

app = typer.Typer()
app.command()(train)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_explains_every_option() -> None:
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", run("--help").output)
    for option in (
        "--data",
        "--model",
        "--distil",
        "--epochs",
        "--precision",
        "--eval-every",
        "--workers",
        "--no-flip",
        "--refine-boxes",
        "--refinement-steps",
        "--minutes",
        "--annotations",
        "--val-annotations",
        "--learn-norms",
        "--colour",
    ):
        assert option in text


def test_options_reach_the_run(tmp_path: Path) -> None:
    result = run(
        *("--data", "pages", "--model", "pages-small", "--output", tmp_path, "--stages", "1:64-64"),
        *("--batch-size", 1, "--learning-rate", 2e-4, "--clip", 0.5, "--ema", 0.9, "--schedule", "cosine", "--seed", 3),
        *("--distil", "act:L=16,r=2", "--distil-weight", 7, "--distil-layers", "last"),
        *("--distil-distance", "overlap", "--eval-every", 0),
        *(
            "--device",
            "cpu",
            "--workers",
            0,
            "--threads",
            1,
            "--freeze-backbone",
            "--name",
            "mine",
            "--precision",
            "bf16",
        ),
    )
    assert result.exit_code == 0, result.output
    assert "is ready" in result.stderr

    import torch

    from models.weights import read_config

    settings = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["recipe"]
    expected = {
        "batch_size": 1,
        "learning_rate": 2e-4,
        "clip_norm": 0.5,
        "ema_decay": 0.9,
        "schedule": "cosine",
        "seed": 3,
        "distil": "act:L=16,r=2",
        "distil_weight": 7.0,
        "distil_layers": "last",
        "distil_distance": "overlap",
        "freeze_backbone": True,
        "precision": "bf16",
        "stages": "1:64-64",
        "hybrid": None,
    }
    assert {name: settings[name] for name in expected} == expected
    config = read_config(tmp_path / "model.safetensors")
    assert config is not None
    assert config.name == "mine"
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 1


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        ((), 2, "steps or stages"),
        (("--steps", 1, "--epochs", 1), 2, "one of steps, epochs, minutes and stages"),
        (("--minutes", 5), 2, "minutes is for labelled images"),
        (("--steps", 1, "--annotations", "there.json"), 2, "generated pages come with their annotations"),
        (("--steps", 1, "--distil", "exact"), 2, "needs no distillation"),
        (("--steps", 1, "--distil", "act:Q=1"), 2, "is not an option of act"),
        (("--steps", 1, "--ema", 1), 2, "decay"),
        (("--steps", 1, "--refine-boxes", "--distil", "act"), 2, "learns by itself"),
        (("--steps", 1, "--refine-boxes", "--model", "pages-small:scratch"), 2, "no boxes to refine"),
        (("--steps", 1, "--device", "cuda:99"), 2, "cuda:99 is not there"),
        (("--steps", 1, "--model", "nothing-here"), 1, "nothing-here"),
        (("--steps", 1, "--model", "nothing-here:scratch"), 2, "nothing-here"),
        (("--steps", 1, "--data", "nowhere"), 2, "nowhere"),
        (("--steps", 1, "--eval-data", "nowhere"), 2, "nowhere"),
    ],
)
def test_mistakes_are_one_red_line(tmp_path: Path, options: tuple[object, ...], status: int, complaint: str) -> None:
    result = run("--data", "pages", "--output", tmp_path, "--device", "cpu", *options)
    assert result.exit_code == status
    assert complaint in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("act", "act:L=16,r=1"),
        ("act:r=4", "act:L=16,r=4"),
        ("tangent", "tangent:C=16"),
        ("act:L=32,r=8", "act:L=32,r=8"),
    ],
)
def test_attention_to_distil_is_the_models_own_where_it_is_left_open(tmp_path: Path, text: str, setting: str) -> None:
    assert str(_attention(text, "pages-small:scratch", tmp_path, None)) == setting
