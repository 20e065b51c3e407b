from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from models.config import DetrConfig
from models.data.pages import render_page
from models.detr.detr import Detr
from models.weights import save_checkpoint
from service.cli.tune import tune

runner = CliRunner()
app = typer.Typer()
app.command()(tune)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_config: DetrConfig) -> Path:
    """A tiny model, confident of every query."""
    torch.manual_seed(0)
    detr = Detr(tiny_config)
    with torch.no_grad():
        detr.class_embed.bias[0] += 20
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, detr.state_dict(), tiny_config)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(2):
        render_page(seed, 128, 96).image.save(folder / f"{seed}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def run_tune(model: Path, images: Path, *options: str):
    return runner.invoke(app, ["--model", str(model), "--images", str(images), *options])


def test_max_drift_leads_to_a_measured_setting(model, images):
    result = run_tune(model, images, "--max-drift", "1000")
    assert result.exit_code == 0, result.output
    assert "recommended: act:L=16," in result.output


def test_epsilon_leads_to_a_setting_from_the_bound(model, images):
    result = run_tune(model, images, "--epsilon", "5", "--confidence", "0.9")
    assert result.exit_code == 0, result.output
    assert "recommended: act:L=" in result.output
    assert "beyond" in result.output


def test_no_setting_within_the_drift_exits_with_status_1(model, images):
    result = run_tune(model, images, "--max-drift", "0", "--mode", "tangent")
    assert result.exit_code == 1
    assert "use exact attention" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--max-drift"),
        (["--epsilon", "1", "--mode", "tangent"], "hashing"),
        (["--epsilon", "1", "--confidence", "1"], "confidence"),
        (["--epsilon", "-1"], "distance"),
    ],
)
def test_bad_options_exit_with_status_2(model, images, options, message):
    result = run_tune(model, images, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_folder_without_images_is_refused(model, tmp_path):
    result = run_tune(model, tmp_path, "--max-drift", "1")
    assert result.exit_code == 2
    assert "no images" in result.stderr
