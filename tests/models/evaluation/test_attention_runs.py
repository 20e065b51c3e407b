import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.evaluation.attention_runs import compare, run_attentions

EXACT = AttentionConfig.exact()
ACT = AttentionConfig.act(4, 1.0)
KMEANS = AttentionConfig.kmeans(5)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)


def test_runs_detect_what_the_detector_detects_bit_for_bit(detector, image):
    runs = run_attentions(detector, detector.preprocess(image), (ACT, KMEANS, EXACT))
    assert list(runs) == [ACT, KMEANS, EXACT]
    for attention, run in runs.items():
        prediction = detector.detect(image, attention)
        assert np.array_equal(run.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert np.array_equal(run.detections.scores, prediction.detections.scores)
        assert run.detections.labels == prediction.detections.labels
        assert [np.mean(heads) for heads in run.clusters] == [layer.mean for layer in prediction.attention.clusters]


def test_backbone_runs_once_for_all_settings(detector, image):
    passes = []
    detector.detr.backbone.register_forward_hook(lambda *_: passes.append(1))
    runs = run_attentions(detector, detector.preprocess(image), (EXACT, ACT, KMEANS))
    assert len(passes) == 1
    assert len({run.backbone_ms for run in runs.values()}) == 1
    assert all(run.transformer_ms >= 0 for run in runs.values())


def test_exact_attention_differs_from_itself_by_nothing(detector, image):
    exact = run_attentions(detector, detector.preprocess(image), (EXACT,))[EXACT]
    nearness = compare(exact, exact, 80, 100)
    assert nearness.encoder_error == 0
    assert not nearness.box_drift.any()
    assert not nearness.edge_drift.any()


def test_fewer_clusters_are_further_from_exact_attention(detector, image):
    coarse, fine = AttentionConfig.kmeans(2), AttentionConfig.act(16, 0.01)
    runs = run_attentions(detector, detector.preprocess(image), (EXACT, coarse, fine))
    errors = [compare(runs[EXACT], runs[setting], 80, 100).encoder_error for setting in (coarse, fine)]
    assert errors[0] > errors[1]
    assert errors[1] == pytest.approx(0, abs=1e-4)
