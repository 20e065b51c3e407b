"""Boxes in pixels of folders that transformers saved, against its own image processor and model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attention_config import AttentionConfig
from models.detector import Detector, load_detector
from models.weights.checkpoint_files import save_checkpoint
from models.weights.transformers_folder import load_transformers_folder

transformers = pytest.importorskip("transformers")

IMAGES = {"landscape": (90, 147), "portrait": (151, 64), "square": (120, 120), "strip": (23, 310), "dot": (1, 1)}
FORMS: dict[str, dict[str, Any]] = {
    "published": {},
    "sides": {"size": {"shortest_edge": 96, "longest_edge": 133}},
    "sides-unpadded": {"size": {"shortest_edge": 96, "longest_edge": 133}, "do_pad": False},
    "sides-on-canvas": {
        "size": {"shortest_edge": 96, "longest_edge": 133},
        "pad_size": {"height": 140, "width": 150},
    },
    "sides-canvas-switched-off": {
        "size": {"shortest_edge": 96, "longest_edge": 133},
        "do_pad": False,
        "pad_size": {"height": 140, "width": 150},
    },
    "trainer-example": {
        "size": {"max_height": 160, "max_width": 160},
        "do_pad": True,
        "pad_size": {"height": 160, "width": 160},
    },
    "inside": {"size": {"max_height": 100, "max_width": 170}},
    "inside-wide-canvas": {"size": {"max_height": 100, "max_width": 170}, "pad_size": {"height": 101, "width": 203}},
    "exact": {"size": {"height": 128, "width": 128}},
    "exact-wide": {"size": {"height": 96, "width": 160}, "do_pad": False},
    "exact-on-canvas": {"size": {"height": 96, "width": 130}, "pad_size": {"height": 160, "width": 160}},
    "own-size": {"do_resize": False},
    "own-size-on-canvas": {"do_resize": False, "pad_size": {"height": 170, "width": 333}},
}


@dataclass(frozen=True)
class Gains:
    """How much of what comes in passes on: attention's logits, all else in a layer, convolutions, heads."""

    logits: float
    linear: float
    convolution: float
    head: float


KEEN = Gains(3.0, 1.4, 1.4, 1.4)
"""Image, positions and queries all show in every box; so does a grey level of a pixel."""
CALM = Gains(1.0, 0.5, 0.7, 1.0)
"""As a trained model is: a grey level, by which two resizers differ, does not show."""


def make_model(stages: int, gains: Gains) -> nn.Module:
    backbone = transformers.ResNetConfig(
        layer_type="basic",
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64][:stages],
        depths=[1] * stages,
        out_features=[f"stage{stages}"],
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=9,
        id2label={0: "a", 1: "b"},
        label2id={"a": 0, "b": 1},
    )
    return randomised(transformers.DetrForObjectDetection(config), gains)


def randomised(detr: nn.Module, gains: Gains) -> nn.Module:
    """Random weights, and statistics of batch norm."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*detr.named_parameters(), *detr.named_buffers()]:
            if value.dim() >= 2:
                value.normal_(0, gain(name, value, gains) * value[0].numel() ** -0.5, generator=generator)
            elif name.endswith(("running_var", "weight")):
                value.uniform_(0.6, 1.4, generator=generator)
            elif value.is_floating_point():
                value.uniform_(-0.3, 0.3, generator=generator)
        detr.bbox_predictor.layers[-1].bias.copy_(torch.tensor([-0.4, -0.4, -2.5, -2.5]))  # sides inside the image
    return detr.eval()


def gain(name: str, value: Tensor, gains: Gains) -> float:
    if "query_position" in name:
        return float(value.shape[1] ** 0.5)
    if "q_proj" in name or "k_proj" in name:
        return gains.logits
    if "predictor" in name or "classifier" in name:
        return gains.head
    return gains.convolution if value.dim() == 4 else gains.linear


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth, as photographs are, and with an edge: resizers differ in noise."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / 17 + c) * np.cos(y / 11 - c) for c in range(3)]
    image = np.stack(waves, -1)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 30, 90)
    return image.astype(np.uint8)


def transformers_answer(model: nn.Module, processor: Any, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Boxes [Q, 4] in pixels of the image, and scores, by query: its own steps, one image at a time.

    The processor teaches boxes relative to what it padded the image to. So the whole of that is what
    `post_process_object_detection` must be told the size of, in pixels of the original image.
    """
    inputs = processor(images=image, return_tensors="pt", input_data_format="channels_last")
    padded = np.array(inputs["pixel_values"].shape[-2:])
    mask = inputs.get("pixel_mask", torch.ones(1, *padded))[0]
    valid = np.array([int(mask[:, 0].sum()), int(mask[0].sum())])
    with torch.no_grad():
        outputs = model(**inputs)
    (answer,) = processor.post_process_object_detection(
        outputs, threshold=0.0, target_sizes=torch.tensor(np.array([image.shape[:2]]) * padded / valid)
    )
    return answer["boxes"], answer["scores"]


def answers(
    detector: Detector, model: nn.Module, processor: Any, image: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ours and theirs: score and box of every query [Q, 5], the box clipped to the image and in shares of its sides."""
    height, width = image.shape[:2]
    boxes, scores = transformers_answer(model, processor, image)
    sides = np.array([width, height, width, height])
    answer = detector.detect(image, AttentionConfig.exact()).detections
    ours = np.column_stack((answer.scores, answer.boxes_xyxy / sides))
    return ours, np.column_stack((scores, np.clip(boxes.numpy() / sides, 0, 1)))


def assert_same(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """To 1e-3 of the image's sides; queries of equal score may have changed places."""
    apart = np.abs(ours[:, None] - theirs).max(-1)
    assert apart.min(0).max() < 1e-3
    assert apart.min(1).max() < 1e-3


def saved(model: nn.Module, processor: Any, folder: Path) -> Detector:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return load_detector(str(folder), device="cpu")


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize("form", FORMS)
def test_boxes_are_those_of_transformers(form: str, stages: int, tmp_path: Path) -> None:
    processor = transformers.DetrImageProcessorPil(**FORMS[form])
    model = make_model(stages, KEEN)
    detector = saved(model, processor, tmp_path)
    seen = []
    for height, width in IMAGES.values():
        ours, theirs = answers(detector, model, processor, picture(height, width))
        assert_same(ours, theirs)
        seen.append(theirs)
    assert np.median(np.ptp(np.concatenate(seen), axis=0)) > 0.05, "all boxes are alike, so this shows little"


@pytest.mark.parametrize("form", FORMS)
def test_boxes_are_those_of_the_default_processor(form: str, tmp_path: Path) -> None:
    processor = transformers.DetrImageProcessor(**FORMS[form])
    model = make_model(4, CALM)
    detector = saved(model, processor, tmp_path)
    for size in ("landscape", "portrait", "square"):
        assert_same(*answers(detector, model, processor, picture(*IMAGES[size])))


@pytest.mark.parametrize("form", ["trainer-example", "sides-on-canvas", "exact"])
def test_a_file_of_ours_keeps_sizes_and_canvas(form: str, tmp_path: Path) -> None:
    detector = saved(make_model(3, KEEN), transformers.DetrImageProcessor(**FORMS[form]), tmp_path)
    config, state = load_transformers_folder(tmp_path)
    save_checkpoint(tmp_path / "ours.safetensors", state, config)
    again = load_detector(str(tmp_path / "ours.safetensors"), device="cpu")
    assert again.config == detector.config
    image = picture(*IMAGES["portrait"])
    assert np.array_equal(again.detect(image).detections.boxes_xyxy, detector.detect(image).detections.boxes_xyxy)


@pytest.mark.parametrize("attention", [AttentionConfig.exact(), AttentionConfig.act(8, 1.0), AttentionConfig.tangent()])
def test_results_on_a_canvas_do_not_depend_on_the_batch(attention: AttentionConfig, tmp_path: Path) -> None:
    processor = transformers.DetrImageProcessor(**FORMS["trainer-example"])
    detector = saved(make_model(3, KEEN), processor, tmp_path)
    images = [detector.preprocess(picture(*size)) for size in IMAGES.values()]
    together = detector.predict(images, attention)
    for image, prediction in zip(images, together, strict=True):
        (single,) = detector.predict([image], attention)
        assert np.array_equal(single.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert single.attention == prediction.attention
        assert single.attention.tokens == detector.tokens(image) <= 100
    assert {image.height for image in images} == {image.width for image in images} == {160}


def test_an_image_too_large_for_its_canvas_is_made_smaller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    processor = transformers.DetrImageProcessorPil(
        size={"shortest_edge": 96, "longest_edge": 133}, pad_size={"height": 96, "width": 133}
    )
    model = make_model(3, KEEN)
    detector = saved(model, processor, tmp_path)
    assert "made smaller to fit" in caplog.text
    assert_same(*answers(detector, model, processor, picture(*IMAGES["landscape"])))
    with pytest.raises(ValueError, match="negative"):
        transformers_answer(model, processor, picture(*IMAGES["portrait"]))
    prepared = detector.preprocess(picture(*IMAGES["portrait"]))
    assert prepared.pixels.shape == (3, 96, 40)
    detector.predict([prepared], AttentionConfig.exact())


def test_boxes_of_weights_in_half_precision_are_those_of_transformers(tmp_path: Path) -> None:
    processor = transformers.DetrImageProcessorPil(**FORMS["trainer-example"])
    for dtype in (torch.float16, torch.bfloat16):
        model = make_model(3, KEEN).to(dtype)
        detector = saved(model, processor, tmp_path / str(dtype))
        assert_same(*answers(detector, model.float(), processor, picture(*IMAGES["landscape"])))


def test_a_processor_around_the_image_processor_is_read(tmp_path: Path) -> None:
    """transformers 5 saves several processors together in one file, and looks there first."""
    processor = transformers.DetrImageProcessorPil(**FORMS["trainer-example"])
    model = make_model(3, KEEN)
    saved(model, transformers.DetrImageProcessor(), tmp_path)
    nested = {"processor_class": "Processor", "image_processor": processor.to_dict()}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    read = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert read.pad_size == {"height": 160, "width": 160}
    detector = load_detector(str(tmp_path), device="cpu")
    assert_same(*answers(detector, model, processor, picture(*IMAGES["portrait"])))
