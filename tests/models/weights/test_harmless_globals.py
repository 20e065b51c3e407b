"""Checkpoints of training scripts, with other values beside the weights."""

import argparse
import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.weights.checkpoint_files import load_state_dict
from models.weights.errors import UnsafeCheckpoint
from models.weights.harmless_globals import Discarded

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(3)}
ARGUMENTS = argparse.Namespace(
    lr=np.float64(1e-4),
    lr_backbone=np.float32(1e-5),
    epochs=np.int64(300),
    masks=np.bool_(False),
    name=np.str_("run"),
    sizes=np.arange(480, 801, 32),
    coco_path=Path("/data/coco"),
    output_dir=pathlib.PurePosixPath("out"),
    weights=pathlib.PureWindowsPath("C:\\weights"),
    device=torch.device("cpu"),
    backbone="resnet50",
)


def assert_loads(path: Path) -> None:
    loaded = load_state_dict(path)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_detrs_own_script_is_read(zipped: bool, tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    checkpoint = {
        "model": STATE,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 200).state_dict(),
        "epoch": 299,
        "args": ARGUMENTS,
    }
    torch.save(checkpoint, tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert_loads(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize(
    "name",
    [
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "pathlib.PosixPath",
        "pathlib._local.PosixPath",
        "pathlib.WindowsPath",
    ],
)
def test_names_of_other_versions_and_systems_are_known(name: str, tmp_path: Path) -> None:
    module, _, kind = name.rpartition(".")
    checkpoint = {"model": STATE, "args": argparse.Namespace(value=Path("marked"))}
    torch.save(checkpoint, tmp_path / "own.pth", _use_new_zipfile_serialization=False)
    own = pathlib.PosixPath
    written = (tmp_path / "own.pth").read_bytes()
    mark = f"c{own.__module__}\n{own.__name__}\n".encode()
    assert mark in written
    (tmp_path / "other.pth").write_bytes(written.replace(mark, f"c{module}\n{kind}\n".encode()))
    assert_loads(tmp_path / "other.pth")


def test_a_checkpoint_of_lightning_is_read(tmp_path: Path) -> None:
    checkpoint = {
        "epoch": 4,
        "global_step": 500,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": STATE,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 5}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "dirpath": "/runs"}},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 1e-4, "weight_decay": np.float64(1e-4), "train": Path("/data")},
    }
    torch.save(checkpoint, tmp_path / "epoch=4-step=500.ckpt")
    assert_loads(tmp_path / "epoch=4-step=500.ckpt")


@pytest.mark.parametrize("inside", [None, "value", "path"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_wherever_it_hides(
    inside: str | None, zipped: bool, tmp_path: Path, touch: Callable[[Path], object]
) -> None:
    evil = touch(tmp_path / "ran")
    arguments = {None: evil, "value": argparse.Namespace(lr=evil), "path": np.array([evil], dtype=object)}[inside]
    torch.save({"model": STATE, "args": arguments}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match=r"c\.pth was refused.*python -c"):
        load_state_dict(tmp_path / "c.pth")
    assert not (tmp_path / "ran").exists()


def test_the_command_that_saves_a_refused_checkpoint_again_works(
    tmp_path: Path, touch: Callable[[Path], object]
) -> None:
    checkpoint = {"model": STATE, "args": argparse.Namespace(made=touch(tmp_path / "ran"))}
    torch.save(checkpoint, tmp_path / "c.pth")
    with pytest.raises(UnsafeCheckpoint) as refused:
        load_state_dict(tmp_path / "c.pth")
    program = str(refused.value).partition('python -c "')[2].removesuffix('"')
    compile(program, "command", "exec")
    run = program.replace("'weights.pth'", repr(str(tmp_path / "weights.pth")))
    exec(run, {})
    assert_loads(tmp_path / "weights.pth")


def test_a_discarded_value_keeps_nothing() -> None:
    discarded = Discarded("f8", False, align=True)
    discarded.__setstate__({"a": 1})
    assert vars(discarded) == {}
