"""The detector on a GPU, where there is one, against the same detector on a CPU. `test_fake_gpu.py` needs none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.attention_config import AttentionConfig
from models.config import BoxRefinementConfig, DetrConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.precision import Precision

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

ATTENTIONS = [
    AttentionConfig.exact(),
    AttentionConfig.act(8, 2.0),
    AttentionConfig.kmeans(4),
    AttentionConfig.tangent(4),
]


@pytest.fixture
def detr(tiny_config: DetrConfig, published_weights: Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]) -> Detr:
    made = Detr(replace(tiny_config, box_refinement=BoxRefinementConfig())).eval()
    made.load_state_dict(published_weights({key: tuple(value.shape) for key, value in made.state_dict().items()}))
    return made


@pytest.fixture
def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in [(70, 50), (64, 64), (70, 50), (33, 120)]]


@pytest.mark.parametrize(
    ("attention", "precision"), [*((one, "fp32") for one in ATTENTIONS), (AttentionConfig.exact(), "bf16")], ids=str
)
def test_nothing_waits_for_a_result(
    detr: Detr, images: list[np.ndarray], attention: AttentionConfig, precision: Precision
) -> None:
    detector = Detector(detr, "cuda", precision)
    prepared = [detector.preprocess(image) for image in images]
    assert all(image.pixels.is_pinned() for image in prepared)
    expected = detector.outputs(prepared, attention)  # builds the kernel, fills what is cached by size
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = detector.outputs(prepared, attention)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(again.boxes_cxcywh, expected.boxes_cxcywh, rtol=0, atol=1e-3)


def test_detections_are_those_of_a_cpu(detr: Detr, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    gpu, cpu = Detector(copy.deepcopy(detr), "cuda"), Detector(detr)
    together = gpu.predict([gpu.preprocess(image) for image in images], AttentionConfig.exact())
    for image, prediction in zip(images, together, strict=True):
        expected = cpu.detect(image).detections
        np.testing.assert_allclose(prediction.detections.scores, expected.scores, atol=1e-3)
