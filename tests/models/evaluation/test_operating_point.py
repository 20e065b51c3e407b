"""Precision and recall from a score up, of cases that are worked out by hand, and against a plain matching."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from models.data.coco import GroundTruth
from models.detections import Detections
from models.evaluation.operating_point import labelled_classes, operating_point

NEAR = (0.0, 0.0, 100.0, 100.0)
FAR = (200.0, 200.0, 300.0, 300.0)
NOWHERE = (400.0, 400.0, 500.0, 500.0)


def values(predictions, truths, **options):
    point = operating_point(predictions, truths, **options)
    return point.precision, point.recall, point.per_image


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, (2 / 3, 2 / 3, 3)), (0.3, (3 / 4, 1, 4))])
def test_detections_below_the_threshold_do_not_count(detected, labelled, threshold, expected):
    rows = ((NEAR, 0.9, "text"), (NOWHERE, 0.8, "text"), (FAR, 0.7, "table"), (NOWHERE, 0.4, "table"))
    truth = labelled((NEAR, "text"), (FAR, "table"), (NOWHERE, "table"))
    assert values([detected(*rows)], [truth], threshold=threshold) == pytest.approx(expected)


def test_second_box_of_an_object_is_wrong(detected, labelled):
    assert values([detected((NEAR, 0.9, "text"), (NEAR, 0.8, "text"))], [labelled((NEAR, "text"))]) == (0.5, 1, 2)


def test_best_score_matches_first_and_the_next_takes_what_is_left(detected, labelled):
    left, right = (0.0, 0.0, 100.0, 100.0), (30.0, 0.0, 130.0, 100.0)
    # the second overlaps the left one by 70/130
    given = detected((right, 0.9, "text"), (right, 0.8, "text"))
    assert values([given], [labelled((left, "text"), (right, "text"))]) == (1, 1, 2)


@pytest.mark.parametrize(("width", "precision"), [(50, 1), (49, 0)])
def test_match_takes_an_iou_of_one_half(detected, labelled, width, precision):
    assert values([detected(((0, 0, width, 100), 0.9, "text"))], [labelled((NEAR, "text"))])[0] == precision


def test_another_class_or_another_image_is_wrong(detected, labelled):
    truths = [labelled((NEAR, "text")), labelled((FAR, "title"))]
    assert values([detected((NEAR, 0.9, "title")), detected((NEAR, 0.9, "text"))], truths) == (0, 0, 1)


def test_crowds_are_neither_required_nor_punished(detected, labelled):
    truth = labelled((NEAR, "text"), (FAR, "text"), crowd=np.array([False, True]))
    inside = (210.0, 210.0, 230.0, 230.0)
    given = detected((NEAR, 0.9, "text"), (inside, 0.8, "text"), (inside, 0.7, "text"))
    assert values([given], [truth]) == (1, 1, 1)


def test_nothing_to_detect_or_nothing_detected_is_zero(detected, labelled):
    assert values([detected()], [labelled((NEAR, "text"))]) == (0, 0, 0)
    assert values([detected((NEAR, 0.9, "text"))], [labelled()]) == (0, 0, 0)
    assert values([], []) == (0, 0, 0)


def test_all_detections_of_an_image_count(detected, labelled):
    given = detected(*((NEAR, 0.9, "text") for _ in range(150)))
    assert values([given], [labelled((NEAR, "text"))]) == pytest.approx((1 / 150, 1, 150))


def test_classes_without_an_object_anywhere_do_not_count(detected, labelled):
    given = [detected((NEAR, 0.9, "table"), (FAR, 0.9, "text")), detected((NEAR, 0.9, "text"), (FAR, 0.8, "figure"))]
    truths = [labelled((NEAR, "table")), labelled((FAR, "figure"), crowd=np.array([True]))]
    assert values(given, truths) == (1, 1, 0.5)
    assert labelled_classes(truths) == {"table"}


def test_class_counts_in_all_images_where_one_has_an_object_of_it(detected, labelled):
    given = [detected((NEAR, 0.9, "table")), detected((NEAR, 0.9, "table"))]
    assert values(given, [labelled((NEAR, "table")), labelled((NEAR, "text"))])[0] == 0.5


def test_operating_point_equals_a_plain_greedy_matching():
    random = np.random.default_rng(0)
    predictions, truths, correct = [], [], 0
    for _ in range(30):
        corners = random.uniform(0, 60, (8, 2))
        truth = GroundTruth(np.hstack((corners, corners + random.uniform(20, 60, (8, 2)))), ("text",) * 8)
        boxes = (truth.boxes_xyxy[random.integers(8, size=9)] + random.uniform(-15, 15, (9, 4))).astype(np.float32)
        scores = np.sort(random.uniform(0.5, 1, 9))[::-1].astype(np.float32)
        predictions.append(Detections(boxes, scores, ("text",) * 9))
        truths.append(truth)
        ious = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(truth.boxes_xyxy))
        for row in ious:  # best first
            if row.max() >= 0.5:
                correct += 1
                ious[:, row.argmax()] = 0  # taken
    assert 0.4 < correct / 240 < 0.8
    assert values(predictions, truths) == pytest.approx((correct / 270, correct / 240, 9))
