"""Explanations of models that transformers runs, padding and all, against what the same run reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import AttentionConfig, load_detector
from models.explanation import explain, refusal
from models.networks.layouts import CoarsestMap, LastMap, SampledPoints
from models.resizing import Resizing

pytest.importorskip("transformers")

CLUSTERING = ["detr-learned", "conditional-detr", "dab-detr", "table-transformer-timm-resnet-d", "rt-detr"]
ATTENTIONS = [AttentionConfig.act(8, 1.0, metric="key"), AttentionConfig.tangent(6), AttentionConfig.exact()]

Saved = Callable[[str], Path]
Images = list[NDArray[np.uint8]]


@pytest.mark.parametrize("name", CLUSTERING)
@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_a_layer_is_explained_as_it_ran(name: str, attention: AttentionConfig, saved: Saved, images: Images) -> None:
    detector = load_detector(str(saved(name)), device="cpu", precision="fp32")
    image = detector.preprocess(images[2])
    (prediction,) = detector.predict([image], attention)
    layers, heads = detector.config.encoder_layers, detector.config.heads
    for layer in range(layers):
        explained = [explain(detector, image, attention, layer, head, point=(20, 30)) for head in range(heads)]
        assert explained[0].grid[0] * explained[0].grid[1] == prediction.attention.tokens
        for one in explained:
            assert one.attention_map is not None
            assert one.attention_map.exact.sum() == pytest.approx(1, abs=1e-4)
        if attention.mode == "exact":
            assert all(one.clusters is None for one in explained)
            continue
        report, counts = prediction.attention.clusters[layer], [one.cluster_count for one in explained]
        assert (min(counts), max(counts), sum(counts) / heads) == (report.min, report.max, report.mean)
    with pytest.raises(ValueError, match="must be below"):
        explain(detector, image, attention, layers)


def test_padding_has_no_cluster_and_is_not_attended_to(saved: Saved, images: Images) -> None:
    detector = load_detector(str(saved("conditional-detr")), device="cpu", precision="fp32")
    network = detector.network
    padded = replace(network.config, resizing=Resizing("sides", canvas=(160, 192)))
    network.config = detector.config = padded  # type: ignore[misc]
    image = detector.preprocess(images[0])
    attention = AttentionConfig.act(8, 1.0, metric="key")
    (prediction,) = detector.predict([image], attention)
    explained = explain(detector, image, attention, 1, 0, point=(127, 95))
    assert explained.clusters is not None
    assert explained.clusters.size == prediction.attention.tokens < 10 * 12  # cells of 16 pixels
    assert explained.attention_map is not None
    assert (explained.attention_map.row + 1, explained.attention_map.column + 1) == explained.grid
    assert explained.attention_map.exact.sum() == pytest.approx(1, abs=1e-4)


def test_a_padded_image_whose_padding_attends_is_refused() -> None:
    assert LastMap().grid([(10, 12)], (96, 128), (160, 192)) == (6, 8)
    assert CoarsestMap().grid([(10, 12)], (160, 192), (160, 192)) == (10, 12)
    assert CoarsestMap().grid([(10, 12)], (96, 128), (160, 192)) is None
    assert SampledPoints(2, 4, 8).grid([(10, 12)], (160, 192), (160, 192)) is None


@torch.inference_mode()
def test_exact_attention_is_what_transformers_itself_returns(saved: Saved, images: Images) -> None:
    """Its eager attention hands out the weights of every layer."""
    transformers = pytest.importorskip("transformers")
    folder = saved("detr-learned")
    detector = load_detector(str(folder), device="cpu", precision="fp32")
    image = detector.preprocess(images[0])
    model = transformers.DetrForObjectDetection.from_pretrained(folder, attn_implementation="eager").eval()
    pixels = detector._batch([image]).stacks[0]
    weights = model(pixel_values=pixels, output_attentions=True).encoder_attentions
    for layer in range(2):
        for head in range(4):
            explained = explain(detector, image, AttentionConfig.exact(), layer, head, point=(90, 50))
            attended = explained.attention_map
            assert attended is not None
            token = attended.row * explained.grid[1] + attended.column
            row = weights[layer][0, head, token].reshape(explained.grid).numpy()
            np.testing.assert_allclose(attended.exact, row, rtol=1e-2, atol=1e-5)


def test_an_encoder_that_samples_points_is_refused_and_says_why(saved: Saved, images: Images) -> None:
    detector = load_detector(str(saved("deformable-detr")), device="cpu", precision="fp32")
    why = refusal(detector)
    assert why is not None
    assert "each query of its encoder looks at a few sampled points only" in why
    with pytest.raises(ValueError, match="has no attention to explain"):
        explain(detector, detector.preprocess(images[0]), AttentionConfig.exact())
