"""`act-detr evaluate` on small data sets and models made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from models.config import BoxRefinementConfig, DetrConfig
from models.detr.detr import Detr
from models.named_models import coco_labels, named_config
from models.weights import read_config, save_checkpoint
from service.cli.evaluate import evaluate

RECTANGLES = ((2, 3, 20, 30), (30, 5, 25, 25))

runner = CliRunner()
app = typer.Typer()
app.command()(evaluate)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_config: DetrConfig) -> Path:
    """A tiny model of COCO's classes with random weights."""
    config = replace(tiny_config, labels=coco_labels())
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, Detr(config).state_dict(), config)
    return path


def write_data_set(folder: Path, classes: tuple[str, ...] = ("person", "giraffe")) -> Path:
    """Three small noisy images in COCO's own layout, an object of each class in every one."""
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    generator = np.random.default_rng(0)
    images, objects = [], []
    for i, (height, width) in enumerate(((48, 64), (64, 48), (50, 60))):
        name = f"{i:012}.jpg"
        pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "val2017" / name)
        images.append({"id": 100 + i, "file_name": name, "height": height, "width": width})
        for category, box in enumerate(RECTANGLES[: len(classes)], 1):
            row = {"image_id": 100 + i, "category_id": category, "bbox": box, "iscrowd": 0}
            objects.append({**row, "id": len(objects) + 1, "area": box[2] * box[3]})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    document = {"images": images, "categories": categories, "annotations": objects}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "coco")


def run(*arguments: object) -> Any:
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_no_box_refinement_leaves_the_refinement_out(coco: Path, tmp_path: Path, tiny_config: DetrConfig) -> None:
    config = replace(tiny_config, labels=coco_labels(), box_refinement=BoxRefinementConfig())
    torch.manual_seed(0)
    detr = Detr(config)
    assert detr.box_refinement is not None
    for stage in detr.box_refinement.stages:
        torch.nn.init.normal_(stage.place.weight)
    path, reports = tmp_path / "refining.safetensors", []
    save_checkpoint(path, detr.state_dict(), config)
    for options in ((), ("--no-box-refinement",)):
        output = tmp_path / "out.json"
        result = run("--data", coco, "--model", path, "--attention", "exact", "--output", output, *options)
        assert result.exit_code == 0, result.output
        reports.append(json.loads(output.read_text()))
    refined, unrefined = reports
    assert (refined["model"]["box_refinement"], unrefined["model"]["box_refinement"]) == (True, False)
    costs = [report["evaluations"][0]["gflops"] for report in reports]
    assert costs[0]["encoder"] == costs[1]["encoder"]
    assert costs[0]["total"] > costs[1]["total"]


def test_no_box_refinement_needs_a_model_with_refinement(coco: Path, model: Path) -> None:
    result = run("--data", coco, "--model", model, "--no-box-refinement")
    assert result.exit_code == 2
    assert "tiny has no box refinement to leave out" in result.stderr


def test_coco_folder_is_evaluated_end_to_end(coco: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    settings = ("exact", "act:L=8,r=2", "kmeans:C=6")
    options = [word for setting in settings for word in ("--attention", setting)]
    result = run("--data", coco, "--model", model, *options, "--threads", 1, "--device", "cpu", "--output", output)
    assert result.exit_code == 0, result.output
    assert "average precision on 3 images, 2 classes" in result.stdout
    assert all(setting in result.stdout for setting in settings)
    report = json.loads(output.read_text())
    assert [row["setting"] for row in report["evaluations"]] == list(settings)
    assert report["data"]["images"] == 3
    assert report["data"]["classes"] == ["giraffe", "person"]
    assert len(report["model"]["weights_sha256"]) == 16
    assert report["threads"] == 1
    exact, _, kmeans = report["evaluations"]
    assert exact["fidelity"] is None
    assert kmeans["clusters"] == [6, 6]
    assert kmeans["gflops"]["total"] < kmeans["exact_gflops"]["total"] == exact["gflops"]["total"]


def test_a_model_is_written_that_vouches_for_what_lost_nothing(coco: Path, model: Path, tmp_path: Path) -> None:
    """With random weights every attention has the same AP: about none."""
    written = tmp_path / "vouching.safetensors"
    options = ("--attention", "exact", "--attention", "tangent:C=6", "--attention", "kmeans:C=6", "--limit", 2)
    result = run("--data", coco, "--model", model, *options, "--vouch", written)
    assert result.exit_code == 0, result.output
    assert f"{written} vouches for tangent:C=6" in result.stdout
    config = read_config(written)
    assert config is not None
    assert [one.setting for one in config.vouched] == ["tangent:C=6"]


def test_mistakes_are_drawn_and_counted(coco: Path, model: Path, tmp_path: Path) -> None:
    sheet, output = tmp_path / "mistakes.png", tmp_path / "out.json"
    result = run(
        "--data", coco, "--model", model, "--attention", "exact", "--limit", 2, "--mistakes", sheet, "--output", output
    )
    assert result.exit_code == 0, result.output
    assert f"{sheet}: labels and detections" in result.stdout
    with Image.open(sheet) as picture:
        assert picture.width > picture.height > 0
    counted = json.loads(output.read_text())["evaluations"][0]["mistakes"]
    assert sum(kinds.get("missed", 0) for kinds in counted.values()) > 0  # the weights are random


@pytest.mark.parametrize("sheet", ["mistakes.txt", "no-such-folder/mistakes.png"])
def test_picture_that_cannot_be_written_is_refused_at_once(coco: Path, model: Path, sheet: str) -> None:
    result = run("--data", coco, "--model", model, "--mistakes", sheet)
    assert result.exit_code == 2
    assert Path(sheet).name in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--vouch", "model.pth"), ".safetensors"),
        (("--vouch", "no-such-folder/model.safetensors"), "folder that exists"),
        (("--vouch", "model.safetensors", "--size", 64), "as it is served"),
        (("--vouch", "model.safetensors", "--no-box-refinement"), "as it is served"),
        (("--vouch", "model.safetensors", "--attention", "tangent"), "--attention exact"),
    ],
)
def test_vouching_that_cannot_mean_anything_is_refused_at_once(
    coco: Path, model: Path, options: tuple[object, ...], reason: str
) -> None:
    result = run("--data", coco, "--model", model, *options)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_default_settings_are_exact_and_the_models_act(coco: Path, model: Path) -> None:
    result = run("--data", coco, "--model", model, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "average precision on 1 images" in result.stdout
    assert "exact " in result.stdout
    assert "act:L=16,r=1" in result.stdout


def test_options_left_out_of_a_setting_are_the_models_own(coco: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    given = ("act", "act:r=2", "act:L=32,r=8", "tangent")
    options = [word for setting in given for word in ("--attention", setting)]
    result = run("--data", coco, "--model", model, *options, "--limit", 1, "--output", output)
    assert result.exit_code == 0, result.output
    settings = [row["setting"] for row in json.loads(output.read_text())["evaluations"]]
    assert settings == ["act:L=16,r=1", "act:L=16,r=2", "act:L=32,r=8", "tangent:C=16"]


def test_left_out_data_is_printed_and_written(coco: Path, model: Path, tmp_path: Path) -> None:
    annotations, output = coco / "annotations" / "instances_val2017.json", tmp_path / "out.json"
    document = json.loads(annotations.read_text())
    document["annotations"][0]["bbox"][2] = 0
    annotations.write_text(json.dumps(document))
    result = run("--data", coco, "--model", model, "--attention", "exact", "--output", output)
    assert result.exit_code == 0, result.output
    assert "boxes without an area, left out: 1 (annotation 1 of image 100 (000000000000.jpg))" in result.stderr
    assert "without 78 of the model's classes, which the data do not label" in result.stdout
    data = json.loads(output.read_text())["data"]
    assert [(row["what"], row["count"]) for row in data["notices"]] == [("boxes without an area, left out", 1)]
    assert len(data["unlabelled_classes"]) == 78


def test_all_problems_of_an_annotation_file_are_named(coco: Path, model: Path) -> None:
    annotations = coco / "annotations" / "instances_val2017.json"
    document = json.loads(annotations.read_text())
    document["annotations"][0]["bbox"] = "all"
    document["annotations"][3]["category_id"] = 77
    annotations.write_text(json.dumps(document))
    result = run("--data", coco, "--model", model)
    assert result.exit_code == 2
    assert f"{annotations}: 2 problems" in result.stderr
    assert "annotation 1 of image 100 (000000000000.jpg): bbox 'all' is not four numbers" in result.stderr
    assert "annotation 4 of image 101 (000000000001.jpg): category_id 77 is no category of the file" in result.stderr


def test_size_changes_the_number_of_tokens(coco: Path, model: Path, tmp_path: Path) -> None:
    tokens = {}
    for size in ("64", "32", "64:70"):
        output = tmp_path / f"{size[-2:]}.json"
        result = run("--data", coco, "--model", model, "--attention", "exact", "--size", size, "--output", output)
        assert result.exit_code == 0, result.output
        report = json.loads(output.read_text())
        tokens[size] = report["evaluations"][0]["tokens"]
    assert tokens["32"] < tokens["64:70"] < tokens["64"]
    assert (report["model"]["shortest_side"], report["model"]["longest_side"]) == (64, 70)


def test_classes_unknown_to_the_model_are_named(tmp_path: Path, model: Path) -> None:
    result = run("--data", write_data_set(tmp_path / "odd", ("person", "unicorn")), "--model", model, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "does not have 1 of the 2 classes" in result.stderr
    assert "unicorn" in result.stderr
    result = run("--data", write_data_set(tmp_path / "alien", ("unicorn",)), "--model", model)
    assert result.exit_code == 2
    assert "none of the classes in the ground truth (unicorn)" in result.stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--attention", "magic"), "the mode must be one of"),
        (("--attention", "act:L=99"), "L must be between"),
        (("--size", "800:600"), "--size is SHORT or SHORT:LONG"),
        (("--size", "wide"), "--size is SHORT or SHORT:LONG"),
        (("--data", "/nowhere"), "/nowhere is no folder"),
        (("--annotations", "/nowhere.json"), "/nowhere.json"),
        (("--output", "/nowhere/out.json"), "no folder /nowhere"),
        (("--model", "nonsense"), "does not exist"),
        (("--device", "abacus"), "device must be"),
    ],
)
def test_bad_options_exit_with_status_2(coco: Path, model: Path, wrong: tuple[str, str], message: str) -> None:
    result = run("--data", coco, "--model", model, *wrong)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_broken_image_is_named(coco: Path, model: Path) -> None:
    path = coco / "val2017" / f"{1:012}.jpg"
    path.write_bytes(path.read_bytes()[:-900])  # its size can still be read
    result = run("--data", coco, "--model", model, "--attention", "exact")
    assert result.exit_code == 1
    assert "000000000001.jpg is not a readable image" in result.stderr
    path.write_bytes(b"junk")
    result = run("--data", coco, "--model", model, "--attention", "exact")
    assert result.exit_code == 2
    assert "'000000000001.jpg' is not a readable image: its format is unknown" in result.stderr


def test_generated_pages_are_evaluated(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    result = run("--data", "pages:1:320x256", "--attention", "exact", "--size", 64, "--output", output)
    assert result.exit_code == 0, result.output
    assert json.loads(output.read_text())["data"]["data"] == "pages:1:320x256"


@pytest.mark.slow
def test_published_layout_is_evaluated(coco: Path, tmp_path: Path) -> None:
    config = named_config("detr-r50")
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "random.safetensors", Detr(config).state_dict(), config)
    output = tmp_path / "out.json"
    options = ("--attention", "exact", "--attention", "act:L=32,r=8", "--size", 160, "--output", output)
    result = run("--data", coco, "--model", tmp_path / "random.safetensors", *options)
    assert result.exit_code == 0, result.output
    exact, act = json.loads(output.read_text())["evaluations"]
    assert exact["images"] == 3
    assert all(0 < ratio <= 1 for ratio in act["cluster_ratio"])


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_results_are_written_even_if_the_reader_of_the_tables_leaves(coco: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    command = [sys.executable, "-m", "service.cli.main", "evaluate", "--data", str(coco), "--model", str(model)]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        subprocess.run([*command, "--attention", "exact", "--output", str(output)], stdout=closed, check=False)
    assert json.loads(output.read_text())["evaluations"]
