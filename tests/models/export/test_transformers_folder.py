"""Folders that are written for transformers: loaded by transformers, and by our own loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.attention.exact import ExactAttention
from models.config import BackboneConfig, DetrConfig
from models.data.pages import render_page
from models.detr.detr import Detr
from models.export.errors import CannotExport, ExportDiffers
from models.export.export import Request, export_model
from models.images import ImageBatch
from models.resizing import Resizing
from models.weights import load_strict, resolve

transformers = pytest.importorskip("transformers")

FORMS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm": {"pre_norm": True},
    "norm-between-layers": {"norm_between_decoder_layers": True},
    "three-stages": {"backbone": BackboneConfig("basic", (2, 1, 2), width=8)},
    "bottleneck": {"backbone": BackboneConfig("bottleneck", (1, 2), width=8)},
    "unused-ids": {"labels": (None, "dog", None, "cat", None)},
    "inside": {"resizing": Resizing("inside", (100, 170)), "shortest_side": 100, "longest_side": 170},
    "exact-size-on-canvas": {"resizing": Resizing("exact", (64, 128), (128, 128))},
    "sides-as-transformers": {"resizing": Resizing()},
    "own-size": {"resizing": Resizing("none"), "shortest_side": 800, "longest_side": 1333},
}
ATOL = 1e-4
"""A few hundred roundings of float32 at magnitudes of up to ten, as for folders that transformers wrote."""
REAL_PAGES = Path(__file__).parents[4] / "shared" / "data" / "pages"


def export(model: Path | str, folder: Path, **options: Any) -> Path:
    export_model(Request(str(model), "transformers", folder, **options), tell=lambda _: None)
    return folder


def images() -> list[Image.Image]:
    real = [Image.open(file).convert("RGB") for file in sorted(REAL_PAGES.rglob("*.jpg"))[:2]]
    return [render_page(3, 264, 204).image, render_page(4, 150, 260).image, *real]


def results(folder: Path, image: Image.Image) -> tuple[Tensor, Tensor, Tensor]:
    """What transformers computes by its own image processor: its input, logits and boxes_cxcywh."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(image, return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    return inputs["pixel_values"][0], output.logits, output.pred_boxes


@pytest.mark.parametrize("form", FORMS)
def test_reads_back_as_it_was(
    form: str, full_config: DetrConfig, save_model: Callable[[DetrConfig], Path], tmp_path: Path
) -> None:
    config = replace(full_config, box_refinement=None, **FORMS[form])
    ours = resolve(str(save_model(config)))
    read = resolve(str(export(ours.source, tmp_path / "tiny")))
    assert read.config == config
    assert read.state_dict.keys() == ours.state_dict.keys()
    assert all(torch.equal(read.state_dict[key], value) for key, value in ours.state_dict.items())


@pytest.mark.parametrize("form", ["post-norm", "pre-norm", "norm-between-layers", "three-stages", "bottleneck"])
def test_transformers_computes_the_same(
    form: str, full_config: DetrConfig, save_model: Callable[[DetrConfig], Path], tmp_path: Path
) -> None:
    config = replace(full_config, box_refinement=None, **FORMS[form])
    ours = resolve(str(save_model(config)))
    folder = export(ours.source, tmp_path / "tiny")
    detr = Detr(ours.config).eval()
    load_strict(detr, ours.state_dict)
    for image in images():
        pixels, logits, boxes = results(folder, image)
        assert min(pixels.shape[1:]) == 64
        with torch.inference_mode():
            expected = detr(ImageBatch.from_images([pixels]), ExactAttention())
        assert logits.std() > 0.1
        torch.testing.assert_close(logits, expected.logits, rtol=0, atol=ATOL)
        torch.testing.assert_close(boxes, expected.boxes_cxcywh, rtol=0, atol=ATOL)


def test_dilated_resnets_are_those_of_timm(
    full_config: DetrConfig, save_model: Callable[[DetrConfig], Path], tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    backbone = BackboneConfig("bottleneck", (2, 2, 2, 2), dilation=True)
    config = replace(full_config, box_refinement=None, backbone=backbone)
    folder = export(save_model(config), tmp_path / "tiny")
    assert json.loads((folder / "config.json").read_text())["backbone_config"]["backbone"] == "resnet26"
    assert resolve(str(folder)).config == config


@pytest.mark.slow
def test_the_embedded_model_finds_the_same_objects(tmp_path: Path) -> None:
    folder = export("pages-small", tmp_path / "pages-small", without_box_refinement=True)
    from models.detector import load_detector

    ours = load_detector("pages-small", device="cpu").without_box_refinement()
    again = load_detector(str(folder), device="cpu")
    assert again.config == ours.config
    for image in images():
        pixels, logits, boxes = results(folder, image)
        with torch.inference_mode():
            expected = ours.detr(ImageBatch.from_images([pixels]), ExactAttention())
        torch.testing.assert_close(logits, expected.logits, rtol=0, atol=1e-3)  # logits of up to 20
        torch.testing.assert_close(boxes, expected.boxes_cxcywh, rtol=0, atol=1e-3)
        first, second = (one.detect(np.asarray(image)) for one in (ours, again))
        np.testing.assert_array_equal(first.detections.boxes_xyxy, second.detections.boxes_xyxy)


def test_the_card_says_how_to_use_it(full_config: DetrConfig, save_model: Any, tmp_path: Path) -> None:
    folder = export(save_model(replace(full_config, box_refinement=None)), tmp_path / "tiny")
    card = (folder / "README.md").read_text()
    assert "text, title, list, table, figure" in card
    assert 'batched_nms(found["boxes"], found["scores"], found["labels"], 0.6)' in card
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_settings_survive_fine_tuning_and_vouching_does_not(
    full_config: DetrConfig, save_model: Any, tmp_path: Path
) -> None:
    folder = export(save_model(replace(full_config, box_refinement=None)), tmp_path / "tiny")
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder)
    with torch.no_grad():
        model.bbox_predictor.layers[2].bias += 0.01
    model.save_pretrained(folder)
    read = resolve(str(folder)).config
    assert (read.nms, read.tangent_C, read.act_L) == (0.6, 5, 17)
    assert read.vouched == ()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {}, "box refinement.*--without-box-refinement"),
        ({"box_refinement": None}, {"without_box_refinement": True}, "no box refinement to leave out"),
        ({"box_refinement": None}, {"attention": "tangent"}, "--attention, --height"),
        (
            {"box_refinement": None, "backbone": BackboneConfig("basic", (1, 1), 8, dilation=True, entry_channels=4)},
            {},
            "doubled model.*--format onnx and --format openvino",
        ),
        (
            {"box_refinement": None, "backbone": BackboneConfig("bottleneck", (1, 1), 8, dilation=True)},
            {},
            "dilated ResNet of its own shape.*resnet50",
        ),
    ],
)
def test_what_transformers_has_no_part_for_is_said(
    full_config: DetrConfig,
    save_model: Any,
    tmp_path: Path,
    changes: dict[str, Any],
    options: dict[str, Any],
    message: str,
) -> None:
    model = save_model(replace(full_config, **changes))
    with pytest.raises(CannotExport, match=message):
        export(model, tmp_path / "tiny", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_read_back_is_not_written(
    full_config: DetrConfig, save_model: Any, tmp_path: Path
) -> None:
    """Transformers' name for an unused id is a name like any other to us."""
    model = save_model(replace(full_config, box_refinement=None, labels=("N/A", "dog")))
    with pytest.raises(ExportDiffers, match="labels differ"):
        export(model, tmp_path / "tiny")
    assert not list(tmp_path.iterdir())
