import json
from pathlib import Path

import pytest

from models.weights.trainer_output import model_folder


def checkpoint(run: Path, step: int, best: int | None = None, **state: object) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    name = None if best is None else f"/elsewhere/{run.name}/checkpoint-{best}"
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": name, **state}))
    return folder


def test_a_folder_with_a_model_is_its_own(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 500)
    assert model_folder(folder) == folder
    (tmp_path / "pytorch_model.bin.index.json").touch()
    assert model_folder(tmp_path) == tmp_path


def test_the_newest_checkpoint_by_number_is_taken_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (500, 1000, 90):
        checkpoint(tmp_path, step)
    assert model_folder(tmp_path).name == "checkpoint-1000"
    assert "steps 90, 500, 1000: checkpoint-1000, the newest, is taken" in caplog.text


def test_the_best_checkpoint_is_taken_where_it_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint(tmp_path, 500, 500)
    checkpoint(tmp_path, 1000, 500)
    assert model_folder(tmp_path).name == "checkpoint-500"
    assert "the best by its trainer_state.json" in caplog.text


@pytest.mark.parametrize(
    "state",
    [
        {"best_model_checkpoint": "C:\\runs\\checkpoint-500"},
        {"best_model_checkpoint": None, "best_global_step": 500},
    ],
)
def test_the_best_checkpoint_is_known_by_its_step(state: dict[str, object], tmp_path: Path) -> None:
    checkpoint(tmp_path, 500)
    checkpoint(tmp_path, 1000, **state)
    assert model_folder(tmp_path).name == "checkpoint-500"


@pytest.mark.parametrize("state", ["", "[]", '{"best_model_checkpoint": 3}', '{"best_model_checkpoint": "gone"}'])
def test_without_a_usable_state_the_newest_is_taken(state: str, tmp_path: Path) -> None:
    checkpoint(tmp_path, 500)
    (checkpoint(tmp_path, 1000) / "trainer_state.json").write_text(state)
    assert model_folder(tmp_path).name == "checkpoint-1000"


def test_deleted_and_unfinished_checkpoints_are_not_taken(tmp_path: Path) -> None:
    checkpoint(tmp_path, 1000, 500)
    (checkpoint(tmp_path, 2000) / "model.safetensors").unlink()
    assert model_folder(tmp_path).name == "checkpoint-1000"


def test_any_other_folder_is_returned_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-last").mkdir()
    assert model_folder(tmp_path) == tmp_path
