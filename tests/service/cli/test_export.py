"""act-detr export: what it prints, and its exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from models.config import DetrConfig
from models.detr.detr import Detr
from models.weights import save_checkpoint
from service.cli.main import app

pytest.importorskip("transformers")
runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_config: DetrConfig) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, Detr(tiny_config).state_dict(), replace(tiny_config, nms=0.7))
    return path


def run(*arguments: object) -> Any:
    return runner.invoke(app, ["export", *map(str, arguments)])


def test_the_files_and_the_differences_are_printed(model: Path, tmp_path: Path) -> None:
    result = run(model, "--format", "transformers", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for name in ("README.md", "config.json", "model.safetensors", "preprocessor_config.json"):
        assert f"{tmp_path / 'out' / name} (" in result.stdout
    assert "On a generated page of 82 x 64 pixels scores differ" in result.stdout
    assert "0.001 is allowed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "transformers", "--without-box-refinement"), "no box refinement to leave out"),
        (("--format", "transformers", "--attention", "tangent"), "--attention, --height, --width and --nms are for"),
        (("--format", "onnx", "--attention", "act"), "ACT cannot be exported"),
        (("--format", "onnx", "--height", "64"), "together"),
        (("--format", "tflite"), "Invalid value for '--format'"),
    ],
)
def test_bad_options_exit_with_status_2(
    model: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.export.export.PACKAGES", {"onnx": (), "transformers": ()})
    result = run(model, *arguments, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_an_unknown_model_exits_with_status_2(tmp_path: Path) -> None:
    result = run("nowhere.pt", "--format", "transformers", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "nowhere.pt" in result.stderr


def test_a_folder_that_holds_something_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    result = run(model, "--format", "transformers", "--output", tmp_path)
    assert result.exit_code == 2
    assert "new or empty" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_missing_packages_exit_with_status_1(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.export.export.find_spec", lambda name: None)
    result = run(model, "--format", "onnx", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "needs onnxscript, onnxruntime: run pip install '.[export]'" in result.stderr.replace("\n", " ")
