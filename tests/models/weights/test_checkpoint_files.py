import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.named_models import pages_small
from models.weights.checkpoint_files import load_state_dict, read_config, save_checkpoint
from models.weights.errors import CorruptCheckpoint, UnsafeCheckpoint, WeightsError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(3)}


def assert_state(loaded: dict[str, Tensor]) -> None:
    assert loaded.keys() == STATE.keys()
    for key, value in STATE.items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_reads_pickles(suffix: str, wrapper: str | None, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    content = {wrapper: STATE, "epoch": 3} if wrapper else STATE
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_state(load_state_dict(path))


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    assert_state(load_state_dict(tmp_path / "weights.safetensors"))
    assert read_config(tmp_path / "weights.safetensors") is None


def test_drops_counters_and_widens_floats(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"bn.num_batches_tracked": torch.tensor(7), "w": torch.ones(2, dtype=torch.bfloat16)}, path)
    loaded = load_state_dict(path)
    assert loaded.keys() == {"w"}
    assert loaded["w"].dtype == torch.float32


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_runs_code_is_refused(zipped: bool, tmp_path: Path, touch: Callable[[Path], object]) -> None:
    path, ran = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"model": STATE, "extra": touch(ran)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match=r"evil\.pth was refused.*system"):
        load_state_dict(path)
    assert not ran.exists()
    torch.load(path, weights_only=False)
    assert ran.exists(), "the file is harmless, so this test shows nothing"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_that_runs_code_is_refused(
    protocol: int, tmp_path: Path, touch: Callable[[Path], object]
) -> None:
    path, ran = tmp_path / "evil.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps(touch(ran), protocol))
    with pytest.raises(UnsafeCheckpoint, match=r"evil\.pth"):
        load_state_dict(path)
    assert not ran.exists()


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04", b"\x80\x02", bytes(100)])
def test_a_file_that_is_no_checkpoint_is_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=f"broken{suffix}"):
        load_state_dict(path)


@pytest.mark.parametrize("form", ["zipped", "legacy", "safetensors"])
def test_a_truncated_file_is_named(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("broken.safetensors" if form == "safetensors" else "broken.pth")
    if form == "safetensors":
        save_checkpoint(path, STATE, pages_small())
    else:
        torch.save({"model": STATE}, path, _use_new_zipfile_serialization=form == "zipped")
    whole = path.read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 40):
        path.write_bytes(whole[:length])
        with pytest.raises((CorruptCheckpoint, UnsafeCheckpoint), match="broken"):
            load_state_dict(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {1: torch.zeros(1)}, {"model": {"a": "text"}}, "text"])
def test_a_pickle_without_a_state_dict_is_named(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CorruptCheckpoint, match="holds no state dict"):
        load_state_dict(tmp_path / "other.pth")


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth cannot be read"):
        load_state_dict(tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match=r"should end in one of \.pth"):
        load_state_dict(tmp_path / "model.onnx")


def test_a_saved_checkpoint_knows_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, {**STATE, "bn.num_batches_tracked": torch.tensor(1)}, pages_small())
    assert read_config(path) == pages_small()
    assert_state(load_state_dict(path))
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_weights_that_are_views_of_one_tensor_can_be_saved(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    save_checkpoint(tmp_path / "s.safetensors", {"a": shared[:3], "b": shared[3:], "c": shared}, pages_small())
    assert load_state_dict(tmp_path / "s.safetensors")["b"].tolist() == [3, 4, 5]


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "odd.safetensors", metadata={"act_detr_config": "{"})
    with pytest.raises(CorruptCheckpoint, match=r"odd\.safetensors has a configuration"):
        read_config(tmp_path / "odd.safetensors")


def test_pickles_know_no_configuration(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "weights.pth")
    assert read_config(tmp_path / "weights.pth") is None
