"""Folders that transformers runs: what is read of them, what is refused, and that nothing of them is executed."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from models import AttentionConfig, load_detector
from models.networks.transformers_folder import MissingPackage
from models.weights.errors import CorruptCheckpoint, MismatchedWeights, UnsafeCheckpoint, UnsupportedModel

transformers = pytest.importorskip("transformers")

Saved = Callable[[str], Path]
Images = list[NDArray[np.uint8]]
EXACT = AttentionConfig.exact()


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Callable[..., Path]:
    """Return a function (name, **changes to config.json) that gives a folder of its own; None takes a field out."""

    def copy(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(saved(name), folder)
        change(folder / "config.json", **changes)
        return folder

    return copy


def change(file: Path, **changes: Any) -> None:
    fields = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))


def rewrite(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path) -> Any:
    return load_detector(str(folder), device="cpu", precision="fp32")


def test_a_pickle_of_plain_weights_is_read_and_one_with_code_is_not(
    saved: Saved, copied: Callable[..., Path], images: Images, tmp_path: Path
) -> None:
    folder = copied("conditional-detr")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    expected = load(saved("conditional-detr")).detect(images[0], EXACT)
    assert np.array_equal(load(folder).detect(images[0], EXACT).detections.scores, expected.detections.scores)

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(UnsafeCheckpoint, match="could run code"):
        load(folder)
    assert not (tmp_path / "executed").exists()


def test_code_in_the_folder_is_never_run(copied: Callable[..., Path], images: Images, tmp_path: Path) -> None:
    maps = {"AutoConfig": "trap.Config", "AutoModelForObjectDetection": "trap.Model"}
    folder = copied("detr-learned", auto_map=maps)
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Config: pass\n")
    assert len(load(folder).detect(images[0], EXACT).detections) == 7
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["conditional-detr", "deformable-detr", "rt-detr"])
def test_weights_that_do_not_fit_are_named(name: str, copied: Callable[..., Path]) -> None:
    folder = copied(name)
    layer = "0.layers.0" if name == "rt-detr" else "layers.0"
    prefix = f"model.encoder.{'aifi' if name == 'rt-detr' else ''}"
    stored = load_file(folder / "model.safetensors")
    key = next(key for key in stored if f"{layer}.self_attn" in key and key.endswith("weight") and "encoder" in key)
    assert prefix.split(".")[1] in key
    whole = dict(stored)

    def lose(state: dict[str, torch.Tensor]) -> None:
        del state[key]

    def add(state: dict[str, torch.Tensor]) -> None:
        state.update(whole)
        state["extra.weight"] = torch.zeros(3)

    def widen(state: dict[str, torch.Tensor]) -> None:
        del state["extra.weight"]
        state[key] = torch.zeros(5, 5)

    for edit, complaint in (
        (lose, "1 missing"),
        (add, r"1 unexpected \(extra.weight\)"),
        (widen, "1 of another shape"),
    ):
        rewrite(folder, edit)
        with pytest.raises(MismatchedWeights, match=complaint):
            load(folder)


def test_half_precision_files_run_in_float32(copied: Callable[..., Path], saved: Saved, images: Images) -> None:
    folder = copied("conditional-detr", dtype="float16")
    rewrite(folder, lambda state: state.update({key: value.half() for key, value in state.items()}))
    detector = load(folder)
    assert {parameter.dtype for parameter in detector.network.module.parameters()} == {torch.float32}
    expected = load(saved("conditional-detr")).detect(images[0], EXACT).detections.scores
    np.testing.assert_allclose(detector.detect(images[0], EXACT).detections.scores, expected, atol=0.05)


def test_labels_come_from_the_configuration(copied: Callable[..., Path]) -> None:
    assert load(copied("dab-detr", id2label={"0": "a", "1": "N/A", "2": "c", "3": "d", "4": "é"})).labels == (
        *("a", "c", "d"),
        "é",
    )


def test_labels_that_are_no_numbers_are_refused(copied: Callable[..., Path]) -> None:
    with pytest.raises(CorruptCheckpoint, match="id2label"):
        load(copied("rt-detr", id2label={"text": "0"}))


def test_sizes_that_the_model_fails_on_are_refused(copied: Callable[..., Path]) -> None:
    folder = copied("rt-detr")
    for size in ({"shortest_edge": 96, "longest_edge": 128}, {"height": 96, "width": 100}):
        change(folder / "preprocessor_config.json", size=size)
        with pytest.raises(UnsupportedModel, match="divide by 32"):
            load(folder)
    change(folder / "preprocessor_config.json", size={"height": 64, "width": 64})
    detector = load(folder)
    with pytest.raises(ValueError, match="its own size only"):
        detector.with_sizes(96)
    learned = copied("detr-learned")
    change(learned / "preprocessor_config.json", size={"shortest_edge": 800, "longest_edge": 1333})
    with pytest.raises(UnsupportedModel, match="50 x 50 cells"):
        load(learned)


def test_without_a_preprocessor_the_family_has_its_own_defaults(copied: Callable[..., Path]) -> None:
    folder = copied("rt-detr")
    (folder / "preprocessor_config.json").unlink()
    config = load(folder).config
    assert config.resizing.size == (640, 640)
    assert (config.mean, config.std) == ((0, 0, 0), (1, 1, 1))


def test_a_backbone_described_elsewhere_is_not_looked_up(copied: Callable[..., Path]) -> None:
    folder = copied("conditional-detr", backbone_config=None, use_timm_backbone=False, backbone="microsoft/resnet-50")
    with pytest.raises(UnsupportedModel, match="described elsewhere"):
        load(folder)


def test_a_configuration_that_makes_no_model_is_refused(copied: Callable[..., Path]) -> None:
    with pytest.raises(UnsupportedModel, match="transformers cannot make this model"):
        load(copied("conditional-detr", position_embedding_type="spiral"))
    with pytest.raises(UnsupportedModel, match="encode_proj_layers"):
        load(copied("rt-detr-v2", encode_proj_layers=[1, 2]))


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("conditional-detr")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackage, match=r"pip install 'transformers>=5' 'timm"):
        load(folder)


@pytest.mark.parametrize("name", ["detr-learned", "detr-swin", "conditional-detr", "dab-detr", "deformable-detr"])
@torch.inference_mode()
def test_padding_to_one_size_is_followed(name: str, copied: Callable[..., Path], images: Images) -> None:
    """transformers' own boxes are relative to the canvas; ours are in pixels of the image."""
    folder = copied(name)
    change(folder / "preprocessor_config.json", do_pad=True, pad_size={"height": 160, "width": 192})
    detector = load(folder)
    kind = json.loads((folder / "preprocessor_config.json").read_text())["image_processor_type"]
    processor = getattr(transformers, kind.removesuffix("Pil") + "Pil").from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()
    image = images[1]
    inputs = processor(images=image, return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (160, 192)
    rows, columns = inputs["pixel_mask"][0].sum(0).max().item(), inputs["pixel_mask"][0].sum(1).max().item()
    size = (image.shape[0] * 160 / rows, image.shape[1] * 192 / columns)
    (expected,) = processor.post_process_object_detection(model(**inputs), 0.0, target_sizes=[size])
    limits = torch.tensor([image.shape[1], image.shape[0]] * 2)
    boxes = expected["boxes"].clamp(min=0).minimum(limits)
    order = expected["scores"].argsort(descending=True, stable=True)
    detections = detector.detect(image, EXACT).detections
    np.testing.assert_allclose(detections.scores, expected["scores"][order], atol=1e-3)
    best = int(order[0])
    np.testing.assert_allclose(detections.boxes_xyxy[0], boxes[best], atol=1e-3 * 192)
    tangent = detector.detect(image, AttentionConfig.tangent(4096)) if detector.family.clusters else None
    if tangent is not None:
        np.testing.assert_allclose(tangent.detections.scores, detections.scores, atol=1e-3)
        assert tangent.attention.tokens == detector.tokens(detector.preprocess(image)) < 10 * 12
