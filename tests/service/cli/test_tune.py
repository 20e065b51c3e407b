from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from models.config import DetrConfig
from models.data.pages import render_page
from models.detr.detr import Detr
from models.weights import save_checkpoint
from service.cli.reproduce import reproduce
from service.cli.tune import tune

runner = CliRunner()
app = typer.Typer()
app.command("tune")(tune)
app.command("reproduce")(reproduce)


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


def tuned(model: Path, images: Path, *options: str):
    return runner.invoke(app, ["tune", "--model", str(model), "--images", str(images), *options])


def test_a_tolerable_drift_leads_to_a_setting(model, images):
    result = tuned(model, images, "--max-drift", "1000")
    assert result.exit_code == 0, result.output
    assert "recommended: act:L=16," in result.output


def test_a_distance_leads_to_a_setting_from_the_bound(model, images):
    result = tuned(model, images, "--epsilon", "5", "--confidence", "0.9")
    assert result.exit_code == 0, result.output
    assert "recommended: act:L=" in result.output
    assert "beyond it" in result.output


def test_no_setting_that_is_near_enough_is_a_failure(model, images):
    result = tuned(model, images, "--max-drift", "0", "--mode", "tangent")
    assert result.exit_code == 1
    assert "exact attention it is" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "--max-drift"),
        (["--epsilon", "1", "--mode", "tangent"], "hashing"),
        (["--epsilon", "1", "--confidence", "1"], "confidence"),
        (["--epsilon", "-1"], "distance"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(model, images, options, reason):
    result = tuned(model, images, *options)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_folder_without_images_is_refused(model, tmp_path):
    result = tuned(model, tmp_path, "--max-drift", "1")
    assert result.exit_code == 2
    assert "no images" in result.stderr


def test_a_part_is_measured_then_there_and_drawn_again(model, tmp_path):
    command = ["reproduce", "--model", str(model), "--output", str(tmp_path), "--pages", "2", "--quick"]
    result = runner.invoke(app, [*command, "--only", "sharing"])
    assert result.exit_code == 0, result.output
    assert "measured: sharing" in result.output
    assert (tmp_path / "sharing.svg").exists()
    assert "measured: nothing; 1 parts" in runner.invoke(app, [*command, "--only", "sharing"]).output
    (tmp_path / "sharing.svg").unlink()
    result = runner.invoke(app, ["reproduce", "--output", str(tmp_path), "--plots-only"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sharing.svg").exists()


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--sizes", "8"], 2, "from 32 on"),
        (["--sizes", "many"], 2, "many"),
        (["--only", "nothing"], 1, "no part's name"),
        (["--plots-only"], 1, "no JSON"),
    ],
)
def test_mistakes_of_reproduce_are_said(model, tmp_path, options, status, reason):
    result = runner.invoke(app, ["reproduce", "--model", str(model), "--output", str(tmp_path), *options])
    assert result.exit_code == status
    assert reason in result.stderr
