from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import main as cli

runner = CliRunner()


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch, detector: Any) -> None:
    monkeypatch.setattr("models.detector.load_detector", lambda *_, **__: detector)
    for name in ("ACT_DETR_MODEL", "ACT_DETR_ATTENTION", "ACT_DETR_DEVICE", "ACT_DETR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: object) -> Any:
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


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
