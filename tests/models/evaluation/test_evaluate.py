import numpy as np
import pytest

from models.config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import PageSamples, Sample
from models.detector import Detector
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.evaluate import evaluate

EXACT = AttentionConfig.exact()
ACT = AttentionConfig.act(4, 1.0)
KMEANS = AttentionConfig.kmeans(5)
PAGES = PageSamples(2, 128, 96)


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


def test_kinds_are_scored_side_by_side(detector):
    exact, act, kmeans = evaluate(detector, PAGES, (EXACT, ACT, KMEANS))
    assert exact.images == act.images == kmeans.images == 2
    assert exact.cluster_ratio == exact.clusters == ()
    assert len(act.cluster_ratio) == len(act.clusters) == 2
    assert all(0 < ratio <= 1 for ratio in act.cluster_ratio)
    assert kmeans.clusters == (5, 5)
    assert kmeans.cluster_ratio == pytest.approx((5 / kmeans.tokens,) * 2)
    assert exact.gflops == exact.exact_gflops == act.exact_gflops == kmeans.exact_gflops
    assert kmeans.gflops.attention < exact.gflops.attention
    assert exact.fidelity is None
    assert kmeans.fidelity.encoder_error > 0


def test_scores_and_costs_are_those_of_the_detector(detector):
    (act,) = evaluate(detector, PAGES, (ACT,))
    predictions = [detector.detect(sample.image, ACT) for sample in PAGES]
    metrics = coco_metrics([prediction.detections for prediction in predictions], [page.truth for page in PAGES])
    assert act.metrics == metrics
    reports = [prediction.attention for prediction in predictions]
    assert act.gflops.encoder == pytest.approx(np.mean([report.encoder_gflops for report in reports]))
    assert act.exact_gflops.encoder == pytest.approx(np.mean([report.exact_encoder_gflops for report in reports]))
    assert act.clusters == pytest.approx([np.mean([r.clusters[layer].mean for r in reports]) for layer in range(2)])


def test_exact_is_the_reference_whether_asked_for_or_not(detector):
    (alone,) = evaluate(detector, PAGES, (ACT,))
    _, beside = evaluate(detector, PAGES, (EXACT, ACT))
    assert alone.attention == beside.attention == ACT
    assert alone.fidelity == beside.fidelity


def test_clusters_of_one_are_exact(detector):
    (fine,) = evaluate(detector, PAGES, (AttentionConfig.act(32, 1e-3),))
    assert fine.cluster_ratio == (1, 1)
    assert fine.fidelity.encoder_error == pytest.approx(0, abs=1e-4)


def test_images_are_taken_one_at_a_time(detector):
    taken, gone = [], []

    def watched():
        for place, sample in enumerate(PAGES):
            taken.append(place)
            yield sample
            gone.append(place)
            assert taken == gone

    evaluate(detector, watched(), (EXACT, ACT))
    assert taken == [0, 1]


def test_time_is_the_sum_of_its_parts(detector):
    (exact,) = evaluate(detector, PAGES, (EXACT,))
    assert exact.speed.backbone > 0
    assert exact.speed.transformer > 0
    assert exact.speed.mean == pytest.approx(exact.speed.backbone + exact.speed.transformer)


def test_classes_that_the_model_has_not_are_left_out(detector):
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = np.array([[0.0, 0, 30, 30], [10, 10, 60, 60]])
    both = Sample(image, GroundTruth(boxes, ("text", "giraffe")))
    known = Sample(image, GroundTruth(boxes[:1], ("text",)))
    (with_stranger,), (without,) = (evaluate(detector, [sample], (EXACT,)) for sample in (both, known))
    assert with_stranger.metrics == without.metrics
    assert list(with_stranger.metrics.by_class) == ["text"]


def test_classes_without_a_label_are_named_and_do_not_count(detector):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    found = detector.detect(image).detections.select(0.0)
    label = found.labels[0]
    own = np.array([name == label for name in found.labels])
    truth = GroundTruth(found.boxes_xyxy[own], (label,) * int(own.sum()))
    (exact,) = evaluate(detector, [Sample(image, truth)], (EXACT,))
    assert exact.unlabelled == tuple(name for name in detector.labels if name != label)
    confident = found.select(0.5)
    assert exact.answers.per_image == sum(name == label for name in confident.labels)
    assert exact.answers.precision == (1 if label in confident.labels else 0)


def test_refuses_to_evaluate_nothing(detector):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(detector, [], (EXACT,))
    with pytest.raises(ValueError, match="no attention"):
        evaluate(detector, PAGES, ())
    stranger = Sample(np.zeros((64, 64, 3), np.uint8), GroundTruth(np.array([[0.0, 0, 9, 9]]), ("giraffe",)))
    with pytest.raises(ValueError, match="no ground truth"):
        evaluate(detector, [stranger], (EXACT,))
