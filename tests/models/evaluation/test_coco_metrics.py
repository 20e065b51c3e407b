"""Average precision of cases that are worked out by hand."""

import numpy as np
import pytest

from models.evaluation.coco_metrics import coco_metrics

NEAR = (0.0, 0.0, 100.0, 100.0)
FAR = (200.0, 200.0, 300.0, 300.0)
NOWHERE = (400.0, 400.0, 500.0, 500.0)


def test_perfect_predictions_score_one(detected, labelled):
    truths = [labelled((NEAR, "text"), (FAR, "table")), labelled((FAR, "text"))]
    predictions = [detected((NEAR, 0.9, "text"), (FAR, 0.2, "table")), detected((FAR, 0.5, "text"))]
    metrics = coco_metrics(predictions, truths)
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((1, 1, 1))
    assert metrics.by_class == pytest.approx({"text": 1, "table": 1})


@pytest.mark.parametrize("wrong", [NOWHERE, NEAR], ids=["false positive", "duplicate"])
def test_wrong_detection_between_two_correct_ones(detected, labelled, wrong):
    # Precision 1 up to recall 1/2 (51 of the 101 recalls 0, 0.01, ...), then 2/3.
    predictions = [detected((NEAR, 0.9, "text"), (wrong, 0.8, "text"), (FAR, 0.7, "text"))]
    metrics = coco_metrics(predictions, [labelled((NEAR, "text"), (FAR, "text"))])
    assert metrics.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize(("width", "ap", "ap75"), [(78, 0.6, 1), (72, 0.5, 0)])
def test_loose_box_counts_up_to_its_iou(detected, labelled, width, ap, ap75):
    # 78 of 100 columns: IoU 0.78 passes 0.50, 0.55, ... 0.75, six of ten thresholds.
    metrics = coco_metrics([detected(((0, 0, width, 100), 0.9, "text"))], [labelled((NEAR, "text"))])
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((ap, 1, ap75))


def test_mean_over_classes_leaves_out_those_without_ground_truth(detected, labelled):
    truths = [labelled((NEAR, "text"), (FAR, "table"))]
    metrics = coco_metrics([detected((NEAR, 0.9, "text"), (FAR, 0.9, "figure"))], truths)
    assert metrics.by_class == pytest.approx({"text": 1, "table": 0})
    assert metrics.ap == pytest.approx(0.5)


def test_predictions_belong_to_their_image(detected, labelled):
    truths = [labelled((NEAR, "text")), labelled()]
    assert coco_metrics([detected(), detected((NEAR, 0.9, "text"))], truths).ap == 0


def test_sizes_follow_the_areas_where_given(detected, labelled):
    truths = [labelled((NEAR, "text"), (FAR, "text"), areas=np.array([1000.0, 2000.0]))]
    metrics = coco_metrics([detected((NEAR, 0.9, "text"))], truths)
    assert metrics.by_size == pytest.approx({"small": 1, "medium": 0})


def test_crowds_are_neither_required_nor_punished(detected, labelled):
    truths = [labelled((NEAR, "text"), (FAR, "text"), crowd=np.array([False, True]))]
    predictions = [detected((FAR, 0.9, "text"), (FAR, 0.8, "text"), (NEAR, 0.7, "text"))]
    assert coco_metrics(predictions, truths).ap == pytest.approx(1)
    assert coco_metrics([detected((NEAR, 0.7, "text"))], truths).ap == pytest.approx(1)


def test_coco_metrics_print_nothing(detected, labelled, capfd):
    coco_metrics([detected((NEAR, 0.9, "text"))], [labelled((NEAR, "text"))])
    assert capfd.readouterr() == ("", "")


def test_coco_metrics_refuse_to_score_against_nothing(detected, labelled):
    crowd = labelled((NEAR, "text"), crowd=np.array([True]))
    for predictions, truths in (
        ([detected((NEAR, 0.9, "text"))], [labelled()]),
        ([detected((NEAR, 0.9, "text"))], [crowd]),
        ([], []),
    ):
        with pytest.raises(ValueError, match="no ground truth"):
            coco_metrics(predictions, truths)


def test_coco_metrics_refuse_unequal_numbers_of_images(detected, labelled):
    with pytest.raises(ValueError, match="1 predictions do not belong to 2 images"):
        coco_metrics([detected()], [labelled(), labelled()])
