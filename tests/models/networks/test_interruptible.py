from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import AttentionConfig, Detector, load_detector
from models.detr.detr import Detr
from models.detr.mask_head import MaskHead
from models.named_models import pages_small
from models.networks.interruptible import Interrupted
from models.networks.own import OwnNetwork

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
EXACT = AttentionConfig.exact()


def after(questions: int) -> Callable[[], bool]:
    """Return what says stop once it has been asked so often."""
    left = [questions]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


@pytest.fixture
def detector(tiny_detr: Detr) -> Detector:
    return Detector(tiny_detr)


def test_a_run_that_nothing_stops_is_the_same_bit_for_bit(detector: Detector) -> None:
    for attention in (EXACT, AttentionConfig.act(8, 2.0), AttentionConfig.tangent(4)):
        plain, asked = (one.detect(IMAGE, attention) for one in (detector, detector.interruptible(lambda: False)))
        assert np.array_equal(plain.detections.boxes_xyxy, asked.detections.boxes_xyxy)
        assert np.array_equal(plain.detections.scores, asked.detections.scores)
        assert plain.attention == asked.attention


def test_it_stops_between_any_two_blocks_and_layers(detector: Detector) -> None:
    questions = 0

    def count() -> bool:
        nonlocal questions
        questions += 1
        return False

    detector.interruptible(count).detect(IMAGE)
    config = detector.config
    blocks = sum(config.backbone.blocks) + config.encoder_layers + config.decoder_layers
    assert questions > 2 * blocks
    for asked in range(0, questions, 5):
        with pytest.raises(Interrupted):
            detector.interruptible(after(asked)).detect(IMAGE)
    detector.interruptible(after(questions)).detect(IMAGE)


def test_it_can_run_again_after_it_was_stopped(detector: Detector) -> None:
    stopped = True
    other = detector.interruptible(lambda: stopped)
    with pytest.raises(Interrupted):
        other.detect(IMAGE)
    stopped = False
    assert np.array_equal(other.detect(IMAGE).detections.scores, detector.detect(IMAGE).detections.scores)


@pytest.mark.parametrize("name", ["conditional-detr", "dab-detr", "detr-timm-resnet-d", "rt-detr", "deformable-detr"])
def test_models_that_transformers_runs_can_be_stopped_and_are_otherwise_the_same(
    saved: Callable[[str], Path], name: str
) -> None:
    detector = load_detector(str(saved(name)), device="cpu", precision="fp32")
    plain = detector.detect(IMAGE)
    going_on = detector.interruptible(lambda: False)
    assert np.array_equal(going_on.detect(IMAGE).detections.scores, plain.detections.scores)
    weights = going_on.network.module.state_dict()
    kept = detector.network.module.state_dict().items()
    assert all(weight.data_ptr() == weights[name].data_ptr() for name, weight in kept)
    for asked in (0, 30):
        with pytest.raises(Interrupted):
            detector.interruptible(after(asked)).detect(IMAGE)
    assert np.array_equal(detector.detect(IMAGE).detections.scores, plain.detections.scores)


def test_weights_are_shared_and_the_other_detector_asks_nothing(tiny_detr: Detr) -> None:
    refining = Detr(replace(tiny_detr.config, box_refinement=pages_small().box_refinement))
    detector = Detector(OwnNetwork(refining, MaskHead(64, 8, (32, 16, 8))))
    other = detector.interruptible(lambda: True)
    for one, twin in ((detector.network.module, other.network.module), (detector.network.mask_head, None)):
        twin = twin or other.network.mask_head
        assert one is not None
        assert twin is not None
        assert one is not twin
        state = twin.state_dict()
        assert all(weight.data_ptr() == state[name].data_ptr() for name, weight in one.state_dict().items())
    detector.detect(IMAGE)
