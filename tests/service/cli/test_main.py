from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli import main as cli

runner = CliRunner()


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch, detector: Any) -> None:
    monkeypatch.setattr("models.detector.load_detector", lambda *_, **__: detector)
    for name in ("ACT_DETR_MODEL", "ACT_DETR_ATTENTION", "ACT_DETR_DEVICE", "ACT_DETR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def page(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    path = tmp_path / "page [1].png"
    path.write_bytes(encoded())
    return path


def run(*arguments: object) -> Any:
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def test_detect_prints_a_table(page: Path) -> None:
    result = run("detect", page, "--attention", "act", "-L", 16, "-r", 4)
    assert result.exit_code == 0, result.output
    assert "figure" in result.output
    assert "0.912" in result.output
    assert "act attention over 2400 tokens" in result.output


def test_detect_prints_json_lines_and_saves_pictures(page: Path, tmp_path: Path) -> None:
    result = run("detect", page, page, "--json", "--save", tmp_path / "out", "--threshold", 0, "--labels", "title")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(page)] * 2
    assert [row["label"] for row in lines[0]["detections"]] == ["title"]
    assert lines[0]["attention"]["mode"] == "tangent"
    assert lines[0]["attention"]["reason"].startswith("auto: tangent:C=16 was measured to take ")
    assert Image.open(tmp_path / "out" / "page [1].png.png").size == (60, 40)


def test_detect_takes_a_metric(page: Path) -> None:
    result = run("detect", page, "--attention", "act", "-r", 4, "--metric", "key", "--json")
    attention = json.loads(result.stdout)["attention"]
    assert (attention["L"], attention["r"], attention["metric"]) == (16, 4.0, "key")


def test_detect_takes_a_size_and_tiles(page: Path) -> None:
    result = run("detect", page, "--size", 304, "--tiles", "2x3", "--json")
    line = json.loads(result.stdout)
    assert line["tiles"] == {"rows": 2, "columns": 3}
    assert line["resized"] == {"width": 24, "height": 23}
    assert line["attention"]["tokens"] == 24 * 23
    assert "552 tokens in each of 6 tiles" in " ".join(run("detect", page, "--tiles", "2x3").output.split())


def test_a_bad_file_fails_alone(page: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"junk")
    result = run("detect", bad, tmp_path / "missing.png", page, "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(page)]
    assert "No such file" in result.stderr
    assert "not a supported image" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    "options",
    [
        ("-L", 16),
        ("--attention", "act", "-r", -1),
        ("--labels", "cat"),
        ("--threshold", 2),
        ("--size", 300),
        ("--tiles", "3"),
        ("--tiles", "9x9"),
    ],
)
def test_bad_options_end_with_two(page: Path, options: tuple[object, ...]) -> None:
    assert run("detect", page, *options).exit_code == 2


def test_models_are_listed(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    output = run("models", "--cache-dir", tmp_path).output
    for name in ("pages-small", "pages-large", "embedded", "detr-r50-dc5", "159 MB"):
        assert name in output


def test_download_prints_the_path_or_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from models import weights

    def fetch(name: str, cache_dir: Path | None, progress: Callable[[int, int], None]) -> Path:
        progress(5, 10)
        if name == "detr-r50":
            return tmp_path / "detr.pth"
        raise weights.UnknownModel(f"no model is named {name}")

    monkeypatch.setattr(weights, "fetch", fetch)
    good, bad = run("download", "detr-r50"), run("download", "yolo")
    assert (good.exit_code, good.stdout.strip()) == (0, str(tmp_path / "detr.pth"))
    assert bad.exit_code == 1
    assert "no model is named yolo" in bad.stderr


def test_serve_prints_bad_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_MAX_QUEUE", "0")
    result = run("serve", "--port", 99999)
    assert result.exit_code == 2
    assert "ACT_DETR_PORT" in result.stderr
    assert "ACT_DETR_MAX_QUEUE" in result.stderr


def test_detect_gives_masks_and_draws_them(page: Path, tmp_path: Path, detector: Any) -> None:
    detector.mask_refusal = None
    result = run("detect", page, "--masks", "polygons", "--json", "--save", tmp_path / "out", "--threshold", 0)
    assert result.exit_code == 0, result.output
    quarter, _, nothing = (row["segmentation"] for row in json.loads(result.stdout)["detections"])
    assert len(quarter) == 1
    assert min(quarter[0]) == 0
    assert nothing == []
    plain = run("detect", page, "--save", tmp_path / "plain", "--threshold", 0)
    assert "segmentation" not in plain.output
    drawn, without = (Image.open(tmp_path / name / f"{page.name}.png") for name in ("out", "plain"))
    assert drawn.tobytes() != without.tobytes()


def test_masks_of_a_model_that_has_none_are_refused(page: Path) -> None:
    result = run("detect", page, "--masks", "rle")
    assert result.exit_code == 2
    assert "masks: fake gives no masks" in result.output
