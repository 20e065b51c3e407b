"""Average precision of cases that are worked out by hand."""

import numpy as np
import pytest

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.coco_metrics import coco_metrics

NEAR = (0.0, 0.0, 100.0, 100.0)
FAR = (200.0, 200.0, 300.0, 300.0)
NOWHERE = (400.0, 400.0, 500.0, 500.0)


def found(*objects: tuple[tuple[float, ...], float, str]) -> Detections:
    boxes = np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in objects], np.float32)
    return Detections(boxes, scores, tuple(label for _, _, label in objects))


def there(*objects: tuple[tuple[float, ...], str], **more: np.ndarray) -> GroundTruth:
    boxes = np.array([box for box, _ in objects], np.float64).reshape(-1, 4)
    return GroundTruth(boxes, tuple(label for _, label in objects), **more)


def test_perfect_predictions_score_one():
    truths = [there((NEAR, "text"), (FAR, "table")), there((FAR, "text"))]
    predictions = [found((NEAR, 0.9, "text"), (FAR, 0.2, "table")), found((FAR, 0.5, "text"))]
    metrics = coco_metrics(predictions, truths)
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((1, 1, 1))
    assert metrics.by_class == pytest.approx({"text": 1, "table": 1})


def test_false_positive_between_two_true_ones():
    # Precision 1 up to recall 1/2 (51 of the 101 recalls 0, 0.01, ...), then 2/3.
    predictions = [found((NEAR, 0.9, "text"), (NOWHERE, 0.8, "text"), (FAR, 0.7, "text"))]
    metrics = coco_metrics(predictions, [there((NEAR, "text"), (FAR, "text"))])
    assert metrics.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_loose_box_counts_up_to_its_iou():
    # 78 of 100 columns: IoU 0.78 passes 0.50, 0.55, ... 0.75, six of ten thresholds.
    metrics = coco_metrics([found(((0, 0, 78, 100), 0.9, "text"))], [there((NEAR, "text"))])
    assert metrics.ap == pytest.approx(0.6)
    assert (metrics.ap50, metrics.ap75) == pytest.approx((1, 1))
    metrics = coco_metrics([found(((0, 0, 72, 100), 0.9, "text"))], [there((NEAR, "text"))])
    assert (metrics.ap50, metrics.ap75) == pytest.approx((1, 0))


def test_duplicates_are_false_positives():
    # Precision at recall 1/2 is 1, at recall 1 it is 2/3.
    predictions = [found((NEAR, 0.9, "text"), (NEAR, 0.8, "text"), (FAR, 0.7, "text"))]
    metrics = coco_metrics(predictions, [there((NEAR, "text"), (FAR, "text"))])
    assert metrics.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_classes_are_averaged_and_those_without_truth_left_out():
    truths = [there((NEAR, "text"), (FAR, "table"))]
    metrics = coco_metrics([found((NEAR, 0.9, "text"), (FAR, 0.9, "figure"))], truths)
    assert metrics.by_class == pytest.approx({"text": 1, "table": 0})
    assert metrics.ap == pytest.approx(0.5)


def test_predictions_belong_to_their_image():
    truths = [there((NEAR, "text")), there()]
    assert coco_metrics([found(), found((NEAR, 0.9, "text"))], truths).ap == 0


def test_sizes_follow_the_areas_where_given():
    truths = [there((NEAR, "text"), (FAR, "text"), areas=np.array([1000.0, 2000.0]))]
    metrics = coco_metrics([found((NEAR, 0.9, "text"))], truths)
    assert metrics.by_size == pytest.approx({"small": 1, "medium": 0})


def test_crowds_are_neither_required_nor_punished():
    truths = [there((NEAR, "text"), (FAR, "text"), crowd=np.array([False, True]))]
    predictions = [found((FAR, 0.9, "text"), (FAR, 0.8, "text"), (NEAR, 0.7, "text"))]
    assert coco_metrics(predictions, truths).ap == pytest.approx(1)
    assert coco_metrics([found((NEAR, 0.7, "text"))], truths).ap == pytest.approx(1)


def test_prints_nothing(capfd):
    coco_metrics([found((NEAR, 0.9, "text"))], [there((NEAR, "text"))])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("truths", [[there()], [there((NEAR, "text"), crowd=np.array([True]))]])
def test_refuses_to_score_against_nothing(truths):
    with pytest.raises(ValueError, match="no ground truth"):
        coco_metrics([found((NEAR, 0.9, "text"))], truths)
    with pytest.raises(ValueError, match="no ground truth"):
        coco_metrics([], [])


def test_refuses_unequal_numbers_of_images():
    with pytest.raises(ValueError, match="1 predictions do not belong to 2 images"):
        coco_metrics([found()], [there(), there()])
