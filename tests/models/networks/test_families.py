"""Every family of models that is served, against transformers: its image processor, model and post-processing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import AttentionConfig, Detector, load_detector
from models.detections import Detections
from models.export.export import Request, export_model
from models.networks.network import AttentionNotApplicable
from models.training.starting_point import starting_point
from models.weights import ForeignModel, load_strict

transformers = pytest.importorskip("transformers")

OURS = ["detr", "table-transformer", "detr-segmentation"]
DENSE = [
    *("detr-learned", "detr-swin", "detr-convnext", "detr-timm-resnet-d", "detr-timm-group-norm"),
    *("detr-timm-mobilenet", "detr-timm-convnext", "table-transformer-timm-resnet-d"),
    *("conditional-detr", "detr-segmentation-learned", "dab-detr"),
]
COARSEST = ["rt-detr", "rt-detr-v2", "d-fine"]
SAMPLED = ["deformable-detr", "deformable-detr-two-stage"]
FOREIGN = [*DENSE, *COARSEST, *SAMPLED]

EXACT = AttentionConfig.exact()
LIMITS = [AttentionConfig.act(8, 1e-4), AttentionConfig.tangent(4096), AttentionConfig.kmeans(4096, rounds=0)]
SAME = 1e-3
"""Of scores, and of boxes relative to the image."""

Saved = Callable[[str], Path]
Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def detector(saved: Saved) -> Callable[[str], Detector]:
    detectors: dict[str, Detector] = {}

    def load(name: str) -> Detector:
        if name not in detectors:
            detectors[name] = load_detector(str(saved(name)), device="cpu", precision="fp32")
        return detectors[name]

    return load


@torch.inference_mode()
def by_transformers(folder: Path, image: NDArray[np.uint8]) -> list[tuple[str, float, NDArray[np.float32]]]:
    """Labels, scores and boxes_xyxy of all detections by transformers' own pipeline, best first."""
    config = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()
    kind = json.loads((folder / "preprocessor_config.json").read_text())["image_processor_type"]
    processor = getattr(transformers, kind.removesuffix("Pil") + "Pil").from_pretrained(folder)
    inputs = processor(images=image, return_tensors="pt")
    (found,) = processor.post_process_object_detection(model(**inputs), 0.0, target_sizes=[image.shape[:2]])
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].numpy(), strict=True)
    named = [(model.config.id2label[label], score, box) for label, score, box in rows]
    return sorted(named, key=lambda row: -row[1])


def assert_same(found: Detections, expected: list[tuple[str, float, NDArray[np.float32]]], shape: Any) -> None:
    """Each detection has one of its label, score and place; equal scores may stand in either order."""
    height, width = shape[:2]
    sides = np.array([width, height, width, height], np.float32)
    assert len(found) == len(expected) > 5
    left = [(label, score, np.clip(box, 0, sides) / sides) for label, score, box in expected]
    for label, score, box in found:
        near = [
            i
            for i, (other, value, place) in enumerate(left)
            if other == label and abs(value - score) < SAME and np.abs(place - box / sides).max() < SAME
        ]
        assert near, f"{label} {score} {box} is not among {left}"
        del left[near[0]]


@pytest.mark.parametrize("name", [*OURS, *FOREIGN])
def test_exact_detections_are_those_of_transformers_own_pipeline(
    name: str, saved: Saved, detector: Callable[[str], Detector], images: Images
) -> None:
    for image in images[:3]:
        found = detector(name).detect(image, EXACT).detections
        assert_same(found, by_transformers(saved(name), image), image.shape)


@pytest.mark.parametrize("name", [*OURS, *DENSE, *COARSEST])
@pytest.mark.parametrize("attention", LIMITS, ids=str)
def test_clustered_attention_is_exact_at_its_limit(
    name: str, attention: AttentionConfig, detector: Callable[[str], Detector], images: Images
) -> None:
    exact, limit = (detector(name).detect(images[0], one) for one in (EXACT, attention))
    expected = [(label, score, np.array(box)) for label, score, box in exact.detections]
    assert_same(limit.detections, expected, images[0].shape)
    tokens = limit.attention.tokens
    assert [layer.layer for layer in limit.attention.clusters] == list(range(1 if name in COARSEST else 2))
    assert all(layer.max <= tokens for layer in limit.attention.clusters)


@pytest.mark.parametrize("name", [*OURS, *DENSE, *COARSEST])
def test_clusters_change_the_answer_and_their_cost_is_said(
    name: str, detector: Callable[[str], Detector], images: Images
) -> None:
    exact, few = (detector(name).detect(images[0], one) for one in (EXACT, AttentionConfig.kmeans(1)))
    assert not np.array_equal(exact.detections.scores, few.detections.scores)
    assert all(layer.min == layer.max == 1 for layer in few.attention.clusters)
    assert few.attention.encoder_gflops < few.attention.exact_encoder_gflops == exact.attention.encoder_gflops


@pytest.mark.parametrize("name", [*DENSE, *COARSEST])
def test_models_that_transformers_runs_merge_no_tokens_and_say_so(
    name: str, detector: Callable[[str], Detector], images: Images
) -> None:
    with pytest.raises(AttentionNotApplicable, match="merges tokens in act-detr's own network only"):
        detector(name).detect(images[0], AttentionConfig.merge())


@pytest.mark.parametrize("name", SAMPLED)
def test_encoders_that_sample_refuse_clusters_and_say_why(
    name: str, detector: Callable[[str], Detector], images: Images
) -> None:
    family = detector(name).family
    assert family.modes == ("exact",)
    for mode in ("act", "tangent", "kmeans"):
        with pytest.raises(AttentionNotApplicable, match=f"{mode} attention.*sampled points"):
            detector(name).detect(images[0], AttentionConfig.parse(mode))
    assert detector(name).warm_up() == 1
    assert detector(name).auto_attention(100).attention == EXACT


@pytest.mark.parametrize("name", FOREIGN)
def test_an_answer_does_not_depend_on_batch_mates(
    name: str, detector: Callable[[str], Detector], images: Images
) -> None:
    loaded = detector(name)
    attention = AttentionConfig.tangent(4) if loaded.family.clusters else EXACT
    prepared = [loaded.preprocess(image) for image in (*images, images[0])]
    together = loaded.predict(prepared, attention)
    for image, prediction in zip(prepared, together, strict=True):
        (single,) = loaded.predict([image], attention)
        assert np.array_equal(single.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert np.array_equal(single.detections.scores, prediction.detections.scores)
        assert single.attention == prediction.attention
    output = loaded.outputs(prepared, EXACT)  # as one batch, as on a GPU
    assert output.logits.shape[0] == output.boxes_cxcywh.shape[0] == len(prepared)
    torch.testing.assert_close(output.logits[0], output.logits[4], atol=1e-4, rtol=1e-4)
    for i, image in enumerate(prepared):
        alone = loaded.outputs([image], EXACT)
        torch.testing.assert_close(output.logits[i], alone.logits[0], atol=1e-3, rtol=1e-3)
        assert output.encoded.tokens.lengths[i] == alone.encoded.tokens.lengths[0] == loaded.tokens(image)


@pytest.mark.half
@pytest.mark.parametrize("name", FOREIGN)
def test_bf16_runs_close_to_fp32(name: str, saved: Saved, detector: Callable[[str], Detector], images: Images) -> None:
    half = load_detector(str(saved(name)), device="cpu", precision="bf16")
    fp32 = detector(name)
    for attention in (EXACT, AttentionConfig.tangent(8))[: 2 if half.family.clusters else 1]:
        close, expected = (one.detect(images[0], attention).detections.scores for one in (half, fp32))
        assert np.abs(close - expected).mean() < 0.15


@pytest.mark.parametrize("name", FOREIGN)
def test_the_model_is_described(name: str, detector: Callable[[str], Detector], images: Images) -> None:
    loaded = detector(name)
    assert loaded.family.engine == "transformers"
    assert loaded.labels == ("text", "title", "list", "table", "figure")
    assert loaded.parameters > 1000
    assert (loaded.family.note is None) == (name in DENSE)
    prediction = loaded.detect(images[0], EXACT, threshold=0.4)
    assert (prediction.detections.scores >= 0.4).all()
    with pytest.raises(ValueError, match="run by transformers"):
        _ = loaded.detr


@pytest.mark.parametrize("name", OURS)
def test_our_own_network_is_taken_where_it_can_be(name: str, detector: Callable[[str], Detector]) -> None:
    family = detector(name).family
    assert (family.name, family.engine) == (name.removesuffix("-segmentation"), "act-detr")
    assert family.note is None


@pytest.mark.parametrize("name", OURS)
def test_our_own_network_can_be_trained_and_exported(name: str, saved: Saved, tmp_path: Path) -> None:
    start = starting_point(str(saved(name)))
    assert start.weights is not None
    load_strict(start.detr(), start.weights)
    export_model(Request(str(saved(name)), "transformers", tmp_path / "exported"))
    assert (tmp_path / "exported" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", FOREIGN)
def test_others_are_neither_trained_nor_exported(name: str, saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(ForeignModel, match="can be trained"):
        starting_point(str(saved(name)))
    with pytest.raises(ForeignModel, match="exported"):
        export_model(Request(str(saved(name)), "transformers", tmp_path / "exported"))
