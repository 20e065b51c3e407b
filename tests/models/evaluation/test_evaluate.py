import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.evaluate import evaluate

EXACT = AttentionConfig.exact()
ACT = AttentionConfig.act(4, 1.0)
KMEANS = AttentionConfig.kmeans(5)


def test_settings_are_evaluated_on_the_same_images(detector, pages):
    exact, act, kmeans = evaluate(detector, pages, (EXACT, ACT, KMEANS))
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


def test_scores_and_costs_are_those_of_the_detector(detector, pages):
    (act,) = evaluate(detector, pages, (ACT,))
    predictions = [detector.detect(sample.image, ACT) for sample in pages]
    metrics = coco_metrics([prediction.detections for prediction in predictions], [page.truth for page in pages])
    assert act.metrics == metrics
    reports = [prediction.attention for prediction in predictions]
    assert act.gflops.encoder == pytest.approx(np.mean([report.encoder_gflops for report in reports]))
    assert act.exact_gflops.encoder == pytest.approx(np.mean([report.exact_encoder_gflops for report in reports]))
    assert act.clusters == pytest.approx([np.mean([r.clusters[layer].mean for r in reports]) for layer in range(2)])


def test_merging_counts_what_is_left(detector, pages):
    exact, merge = evaluate(detector, pages, (EXACT, AttentionConfig.merge(0.5)))
    assert merge.clusters == merge.cluster_ratio == ()
    assert merge.merged_ratio == pytest.approx(0.5, abs=0.02)
    assert exact.merged_ratio == 1
    reports = [detector.detect(sample.image, merge.attention).attention for sample in pages]
    assert merge.gflops.encoder == pytest.approx(np.mean([report.encoder_gflops for report in reports]))
    assert merge.gflops.attention < exact.gflops.attention / 3
    assert merge.fidelity.encoder_error > 0


def test_exact_attention_is_the_reference_whether_asked_for_or_not(detector, pages):
    (without,) = evaluate(detector, pages, (ACT,))
    _, beside = evaluate(detector, pages, (EXACT, ACT))
    assert without.attention == beside.attention == ACT
    assert without.fidelity == beside.fidelity


def test_clusters_of_one_query_are_exact(detector, pages):
    (fine,) = evaluate(detector, pages, (AttentionConfig.act(32, 1e-3),))
    assert fine.cluster_ratio == (1, 1)
    assert fine.fidelity.encoder_error == pytest.approx(0, abs=1e-4)


def test_images_are_taken_one_at_a_time(detector, pages):
    started, finished = [], []

    def watched():
        for i, sample in enumerate(pages):
            started.append(i)
            yield sample
            finished.append(i)
            assert started == finished

    evaluate(detector, watched(), (EXACT, ACT))
    assert started == [0, 1]


def test_speed_is_the_sum_of_its_parts(detector, pages):
    (exact,) = evaluate(detector, pages, (EXACT,))
    assert exact.speed.backbone > 0
    assert exact.speed.transformer > 0
    assert exact.speed.mean == pytest.approx(exact.speed.backbone + exact.speed.transformer)


def test_ground_truth_of_unknown_classes_is_left_out(detector):
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = np.array([[0.0, 0, 30, 30], [10, 10, 60, 60]])
    both = Sample(image, GroundTruth(boxes, ("text", "giraffe")))
    known = Sample(image, GroundTruth(boxes[:1], ("text",)))
    (with_unknown,), (without,) = (evaluate(detector, [sample], (EXACT,)) for sample in (both, known))
    assert with_unknown.metrics == without.metrics
    assert list(with_unknown.metrics.by_class) == ["text"]


def test_unlabelled_classes_are_named_and_do_not_count(detector):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    detections = detector.detect(image).detections
    label = detections.labels[0]
    own = detections.select(labels={label})
    truth = GroundTruth(own.boxes_xyxy, own.labels)
    (exact,) = evaluate(detector, [Sample(image, truth)], (EXACT,))
    assert exact.unlabelled == tuple(name for name in detector.labels if name != label)
    confident = own.select(0.5)
    assert exact.operating_point.per_image == len(confident)
    assert exact.operating_point.precision == (1 if len(confident) else 0)


def test_evaluate_refuses_to_evaluate_nothing(detector, pages):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(detector, [], (EXACT,))
    with pytest.raises(ValueError, match="no attention"):
        evaluate(detector, pages, ())
    unknown = Sample(np.zeros((64, 64, 3), np.uint8), GroundTruth(np.array([[0.0, 0, 9, 9]]), ("giraffe",)))
    with pytest.raises(ValueError, match="no ground truth"):
        evaluate(detector, [unknown], (EXACT,))
