"""The script that trains on a GPU: its recipes are read, and its commands are those of a run and its refinement."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from models.named_models import EMBEDDED, named_config
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe_file import read_recipe

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "models" / "training" / "gpu_pages.sh"
RECIPES = SCRIPT.parent / "recipes"


def run(tmp_path: Path, *arguments: str, status: int = 0, **environment: str) -> tuple[int, list[list[str]]]:
    """Run the script with an interpreter that writes down its arguments; return the exit status and those."""
    python, calls = tmp_path / "python", tmp_path / "calls"
    calls.touch()
    python.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexit {status}\n')
    python.chmod(0o755)
    given = {name: value for name, value in os.environ.items() if name not in ("OUTPUT", "START", "RECIPE", "DEVICE")}
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=ROOT, env=given | {"PYTHON": str(python)} | environment, timeout=60, check=False
    )
    return done.returncode, [line.split() for line in calls.read_text().splitlines()]


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


@pytest.mark.parametrize(("arguments", "model"), [((), "pages-large"), (("pages-small", "1"), "pages-small")])
def test_a_run_is_followed_by_the_refinement_of_its_model(
    tmp_path: Path, arguments: tuple[str, ...], model: str
) -> None:
    status, (training, refinement) = run(tmp_path, *arguments)
    assert status == 0
    assert option(training, "--model") == model
    assert option(training, "--output") == f"runs/gpu-{model}"
    assert option(refinement, "--model") == f"runs/gpu-{model}/checkpoint.pt"
    assert option(refinement, "--output") == f"runs/gpu-{model}-refined"
    for call, name in ((training, model), (refinement, f"{model}-refinement")):
        assert call[:3] == ["-m", "service.cli.main", "train"]
        assert (ROOT / option(call, "--recipe")).samefile(RECIPES / f"{name}.toml")
        assert option(call, "--device") == "cuda"


def test_what_is_trained_can_be_changed(tmp_path: Path) -> None:
    changes = {"START": "pages-small:doubled", "OUTPUT": "elsewhere", "RECIPE": "mine.toml", "DEVICE": "cpu"}
    _, (training, refinement) = run(tmp_path, **changes)
    options = ("--model", "--output", "--recipe", "--device")
    assert [option(training, name) for name in options] == list(changes.values())
    assert option(refinement, "--model") == "elsewhere/checkpoint.pt"


@pytest.mark.parametrize(("status", "ends_with"), [(124, 0), (3, 3)])
def test_a_stretch_that_is_stopped_is_no_failure_and_has_no_refinement(
    tmp_path: Path, status: int, ends_with: int
) -> None:
    ended, calls = run(tmp_path, status=status)
    assert (ended, len(calls)) == (ends_with, 1)


@pytest.mark.parametrize("model", EMBEDDED)
def test_recipes_train_at_the_sizes_of_their_model(model: str) -> None:
    recipe, refinement = read_recipe(RECIPES / f"{model}.toml"), read_recipe(RECIPES / f"{model}-refinement.toml")
    assert refinement.refine_boxes
    assert not recipe.refine_boxes
    for settings in (recipe, refinement):
        low, high = Curriculum.parse(settings.stages or "").stages[-1].shortest_sides
        assert low <= named_config(model).shortest_side <= high


def test_the_large_model_is_trained_with_the_attention_that_serves_it() -> None:
    assert read_recipe(RECIPES / "pages-large.toml").second_attention == "merge:ratio=0.75"
