from pathlib import Path
from typing import Any

import pytest
import torch

from models.detr.detr import Detr
from models.named_models import EMBEDDED, named_config
from models.weights.checkpoint_files import save_checkpoint
from models.weights.errors import CorruptCheckpoint, UnknownModel, WeightsError
from models.weights.resolve import resolve
from models.weights.strict_load import load_strict


def transformers_model(heads: int = 1) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=transformers.ResNetConfig(
            layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        num_queries=3,
    )
    return transformers.DetrForObjectDetection(config)


def test_a_file_of_ours_brings_its_own_configuration(tiny_detr: Detr, tmp_path: Path) -> None:
    path = tmp_path / "other-name.safetensors"
    save_checkpoint(path, tiny_detr.state_dict(), tiny_detr.config)
    loaded = resolve(str(path))
    assert loaded.config == tiny_detr.config
    assert loaded.source == str(path)
    load_strict(Detr(loaded.config), loaded.state_dict)


def test_the_configuration_of_a_bare_file_is_inferred(tiny_detr: Detr, tmp_path: Path) -> None:
    torch.save({"model": tiny_detr.state_dict()}, tmp_path / "mine.pth")
    loaded = resolve(str(tmp_path / "mine.pth"))
    assert loaded.config.name == "mine"
    assert loaded.config.labels == tuple(f"class_{i}" for i in range(5))
    load_strict(Detr(loaded.config), loaded.state_dict)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_bare_file_of_names_that_were_wrapped(tiny_detr: Detr, prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in tiny_detr.state_dict().items()}
    beside = {"criterion.empty_weight": torch.ones(4)} if prefix else {}
    torch.save({"state_dict": state | beside}, tmp_path / "mine.ckpt")
    loaded = resolve(str(tmp_path / "mine.ckpt"))
    load_strict(Detr(loaded.config), loaded.state_dict)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_bare_file_of_transformers_names(prefix: str, tmp_path: Path) -> None:
    """As Lightning writes it for a module that holds a model of transformers."""
    model = transformers_model()
    state = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.5"}, tmp_path / "epoch=3.ckpt")
    loaded = resolve(str(tmp_path / "epoch=3.ckpt"))
    assert loaded.config.labels == ("class_0", "class_1")
    load_strict(Detr(loaded.config), loaded.state_dict)


def test_the_file_of_a_folder_of_transformers_is_its_folder(tiny_detr: Detr, tmp_path: Path) -> None:
    transformers_model().save_pretrained(tmp_path / "tuned")
    by_file, by_folder = (resolve(str(tmp_path / place)) for place in ("tuned/model.safetensors", "tuned"))
    assert by_file.config == by_folder.config
    save_checkpoint(tmp_path / "tuned" / "model.safetensors", tiny_detr.state_dict(), tiny_detr.config)
    assert resolve(str(tmp_path / "tuned" / "model.safetensors")).config == tiny_detr.config


def test_a_checkpoint_to_go_on_training_from_is_not_served(tiny_detr: Detr, tmp_path: Path) -> None:
    weights = tiny_detr.state_dict()
    state = {"model": {f"detr.{key}": value for key, value in weights.items()}, "averaged": {}, "step": 3}
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt.*\.safetensors file beside it"):
        resolve(str(tmp_path / "checkpoint.pt"))


def test_a_published_name_is_taken_from_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "detr-r50-dc5-f0fb7ef5.pth"
    torch.save({"model": {"query_embed.weight": torch.zeros(2)}}, path)
    loaded = resolve("detr-r50-dc5", tmp_path)
    assert loaded.config == named_config("detr-r50-dc5")
    assert loaded.source == str(path)
    assert loaded.state_dict.keys() == {"query_embed.weight"}


def test_a_damaged_cached_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "detr-r50-dc5-f0fb7ef5.pth"
    torch.save({"model": {"query_embed.weight": torch.zeros(2000)}}, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptCheckpoint, match=str(path)):
        resolve("detr-r50-dc5", tmp_path)
    assert path.exists()


def test_a_folder_of_transformers_is_read(tmp_path: Path) -> None:
    transformers_model(heads=8).save_pretrained(tmp_path / "tuned")
    loaded = resolve(str(tmp_path / "tuned"))
    assert loaded.config.name == "tuned"
    assert loaded.config.heads == 8
    load_strict(Detr(loaded.config), loaded.state_dict)


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_is_complete_and_has_its_configuration(name: str) -> None:
    loaded = resolve(name)
    assert loaded.config == named_config(name)
    load_strict(Detr(loaded.config), loaded.state_dict)


def test_an_embedded_model_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / package)
    with pytest.raises(CorruptCheckpoint, match=r"pages-small\.safetensors"):
        resolve("pages-small")


def test_any_other_model_is_refused_with_the_accepted_forms(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").touch()
    for model in ("", "yolo", "detr-r5O", str(tmp_path / "gone.pth"), str(tmp_path / "picture.jpg")):
        with pytest.raises(UnknownModel, match=r"pages-small, pages-large, detr-r50, .*\.safetensors.*transformers"):
            resolve(model)


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"config\.json"):
        resolve(str(tmp_path))
