import numpy as np
import pytest

from models.data.coco import GroundTruth
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.oracle_boxes import with_true_boxes

TRUTH = GroundTruth(np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]), ("a", "b", "a"))


def test_boxes_become_those_of_the_object_of_their_class_that_they_overlap_most(detected):
    given = detected(
        ((0, 5, 10, 15), 0.9, "a"),  # IoU 1/3
        ((20, 8, 30, 18), 0.8, "b"),  # 1/9
        ((20, 9, 30, 19), 0.7, "b"),  # 1/19: too little
        ((1, 0, 11, 10), 0.6, "b"),  # on an object of another class
        ((44, 0, 54, 10), 0.5, "a"),
    )
    (moved,) = with_true_boxes([given], [TRUTH])
    expected = [[0, 0, 10, 10], [20, 0, 30, 10], [20, 9, 30, 19], [1, 0, 11, 10], [40, 0, 50, 10]]
    assert moved.boxes_xyxy.tolist() == expected
    assert (moved.labels, moved.scores.tolist()) == (given.labels, given.scores.tolist())


def test_true_boxes_mend_ap_that_only_localization_lacks(detected):
    given = detected(((0, 4, 10, 14), 0.9, "a"), ((20, 4, 30, 14), 0.8, "b"), ((40, 4, 50, 14), 0.7, "a"))
    assert coco_metrics([given], [TRUTH]).ap == 0
    assert coco_metrics(with_true_boxes([given], [TRUTH]), [TRUTH]).ap == pytest.approx(1)


def test_crowds_and_empty_images_move_nothing(detected, labelled):
    crowd = GroundTruth(TRUTH.boxes_xyxy, TRUTH.labels, np.array([True, True, True]))
    given = detected(((0, 4, 10, 14), 0.9, "a"))
    moved = with_true_boxes([given, given, detected()], [crowd, labelled(), TRUTH])
    assert [image.boxes_xyxy.tolist() for image in moved] == [given.boxes_xyxy.tolist(), given.boxes_xyxy.tolist(), []]
