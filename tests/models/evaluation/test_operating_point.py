"""Precision and recall at a score, of cases that are worked out by hand."""

import numpy as np
import pytest
from faster_coco_eval import COCOeval_faster

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.coco_metrics import prediction_index, truth_index
from models.evaluation.operating_point import answers, labelled_classes

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


def test_two_right_one_wrong_one_below_the_threshold():
    given = found((NEAR, 0.9, "text"), (NOWHERE, 0.8, "text"), (FAR, 0.7, "table"), (NOWHERE, 0.4, "table"))
    result = answers([given], [there((NEAR, "text"), (FAR, "table"), (NOWHERE, "table"))])
    assert (result.precision, result.recall, result.per_image) == pytest.approx((2 / 3, 2 / 3, 3))
    lower = answers([given], [there((NEAR, "text"), (FAR, "table"), (NOWHERE, "table"))], threshold=0.3)
    assert (lower.precision, lower.recall, lower.per_image) == pytest.approx((3 / 4, 1, 4))


def test_a_second_box_of_an_object_is_wrong():
    result = answers([found((NEAR, 0.9, "text"), (NEAR, 0.8, "text"))], [there((NEAR, "text"))])
    assert (result.precision, result.recall) == (0.5, 1)


def test_the_best_chooses_first_and_the_next_takes_what_is_left():
    left, right = (0.0, 0.0, 100.0, 100.0), (30.0, 0.0, 130.0, 100.0)
    result = answers([found((right, 0.9, "text"), (right, 0.8, "text"))], [there((left, "text"), (right, "text"))])
    assert (result.precision, result.recall) == (1, 1)  # the second overlaps the left one by 70/130


@pytest.mark.parametrize(("width", "right"), [(50, 1), (49, 0)])
def test_half_the_overlap_is_enough(width, right):
    result = answers([found(((0, 0, width, 100), 0.9, "text"))], [there((NEAR, "text"))])
    assert result.precision == right


def test_another_class_or_another_image_is_wrong():
    truths = [there((NEAR, "text")), there((FAR, "title"))]
    result = answers([found((NEAR, 0.9, "title")), found((NEAR, 0.9, "text"))], truths)
    assert (result.precision, result.recall, result.per_image) == (0, 0, 1)


def test_crowds_are_neither_required_nor_punished():
    truth = there((NEAR, "text"), (FAR, "text"), crowd=np.array([False, True]))
    inside = (210.0, 210.0, 230.0, 230.0)
    result = answers([found((NEAR, 0.9, "text"), (inside, 0.8, "text"), (inside, 0.7, "text"))], [truth])
    assert (result.precision, result.recall, result.per_image) == (1, 1, 1)


def test_nothing_found_or_nothing_there_divides_by_nothing():
    assert answers([found()], [there((NEAR, "text"))]).recall == 0
    assert answers([found((NEAR, 0.9, "text"))], [there()]).precision == 0
    assert answers([], []).per_image == 0


def test_finds_as_many_as_cocos_library_does():
    random = np.random.default_rng(0)
    predictions, truths = [], []
    for _ in range(30):
        corners = random.uniform(0, 60, (8, 2))
        truth = GroundTruth(np.hstack((corners, corners + random.uniform(20, 60, (8, 2)))), ("text",) * 8)
        boxes = truth.boxes_xyxy[random.integers(8, size=9)] + random.uniform(-15, 15, (9, 4))
        scores = np.sort(random.uniform(0.5, 1, 9))[::-1].astype(np.float32)
        predictions.append(Detections(boxes.astype(np.float32), scores, ("text",) * 9))
        truths.append(truth)
    library = COCOeval_faster(
        truth_index(truths, ["text"]), prediction_index(predictions, ["text"]), "bbox", print_function=lambda *_: None
    )
    library.evaluate()
    library.accumulate()
    result = answers(predictions, truths)
    assert 0.4 < result.recall < 0.8
    assert result.recall == pytest.approx(library.eval["recall"][0, 0, 0, -1])
    assert result.precision == pytest.approx(result.recall * 8 / 9)


def test_classes_without_an_object_anywhere_are_neither_right_nor_wrong():
    given = [found((NEAR, 0.9, "table"), (FAR, 0.9, "text")), found((NEAR, 0.9, "text"), (FAR, 0.8, "figure"))]
    truths = [there((NEAR, "table")), there((FAR, "figure"), crowd=np.array([True]))]
    scored = answers(given, truths)
    assert (scored.precision, scored.recall, scored.per_image) == (1, 1, 0.5)
    assert labelled_classes(truths) == {"table"}


def test_a_class_counts_in_all_images_where_one_has_an_object_of_it():
    given = [found((NEAR, 0.9, "table")), found((NEAR, 0.9, "table"))]
    assert answers(given, [there((NEAR, "table")), there((NEAR, "text"))]).precision == 0.5
