import numpy as np
import pytest

from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.attention_runs import compare, side_by_side

EXACT = AttentionConfig.exact()
ACT = AttentionConfig.act(4, 1.0)
KMEANS = AttentionConfig.kmeans(5)


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)


def test_answers_are_the_detectors_own(detector, image):
    """Bit for bit, in whatever order they are asked for."""
    answers = side_by_side(detector, detector.preprocess(image), (ACT, KMEANS, EXACT))
    for attention, answer in answers.items():
        prediction = detector.detect(image, attention)
        assert np.array_equal(answer.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert np.array_equal(answer.detections.scores, prediction.detections.scores)
        assert answer.detections.labels == prediction.detections.labels
        assert [np.mean(heads) for heads in answer.clusters] == [layer.mean for layer in prediction.attention.clusters]


def test_the_backbone_runs_once(detector, image):
    runs = []
    detector.detr.backbone.register_forward_hook(lambda *_: runs.append(1))
    answers = side_by_side(detector, detector.preprocess(image), (EXACT, ACT, KMEANS))
    assert len(runs) == 1
    assert len({answer.backbone_ms for answer in answers.values()}) == 1
    assert all(answer.transformer_ms >= 0 for answer in answers.values())


def test_exact_attention_is_nothing_away_from_itself(detector, image):
    exact = side_by_side(detector, detector.preprocess(image), (EXACT,))[EXACT]
    nearness = compare(exact, exact, 80, 100)
    assert nearness.encoder_error == 0
    assert not nearness.box_drift.any()
    assert not nearness.edge_drift.any()


def test_fewer_clusters_are_further_from_exact(detector, image):
    coarse, fine = AttentionConfig.kmeans(2), AttentionConfig.act(16, 0.01)
    answers = side_by_side(detector, detector.preprocess(image), (EXACT, coarse, fine))
    errors = [compare(answers[EXACT], answers[kind], 80, 100).encoder_error for kind in (coarse, fine)]
    assert errors[0] > errors[1]
    assert errors[1] == pytest.approx(0, abs=1e-4)
