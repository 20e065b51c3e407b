"""Files, options and runs of a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.data.write_pages import write_pages
from models.detr.detr import Detr
from models.training.data.batches import TrainingBatch
from models.training.plan.recipe_file import RunSettings, ValidationSettings
from models.training.run import RunOptions
from models.training.starting_point import StartingPoint
from models.weights import save_checkpoint


@pytest.fixture
def start(tiny_detr: Detr) -> StartingPoint:
    """The tiny model with its weights."""
    return StartingPoint(tiny_detr.config, tiny_detr.state_dict())


@pytest.fixture
def tiny_file(start: StartingPoint, tmp_path: Path) -> Path:
    """The tiny model as a file."""
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, start.weights, start.config)
    return path


@pytest.fixture(scope="session")
def picture_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four small pages and two to validate on, with a class of its own: picture instead of figure."""
    folder = tmp_path_factory.mktemp("data")
    write_pages(folder, train=4, val=2, height=120, width=96)
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace('"figure"', '"picture"'))
    return folder


@pytest.fixture(scope="session")
def quick() -> Callable[..., RunOptions]:
    """Return a function (output, name=None, **validation) that returns options for short runs that log every step."""

    def options(output: Path, name: str | None = None, **validation: Any) -> RunOptions:
        run = RunSettings(name=name, threads=1, log_every=1)
        return RunOptions(output, workers=0, validation=ValidationSettings(**validation), run=run)

    return options


@pytest.fixture(scope="session")
def rows() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a function that reads the log in a run's folder, without a row that is being written."""

    def read(folder: Path) -> list[dict[str, Any]]:
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    return read


@pytest.fixture(scope="session")
def same_batch() -> Callable[[TrainingBatch, TrainingBatch], bool]:
    """Return a function that compares two batches, bit for bit."""

    def parts(batch: TrainingBatch) -> list[torch.Tensor]:
        return [*batch.images, *(part for each in batch.targets for part in (each.labels, each.boxes_cxcywh))]

    return lambda a, b: len(a) == len(b) and all(map(torch.equal, parts(a), parts(b)))
