"""Kinds of mistakes, of cases that are worked out by hand."""

import numpy as np
import pytest

from models.evaluation.mistakes import KINDS, judge, mistakes

NEAR = (0.0, 0.0, 100.0, 100.0)
HALF = (0.0, 0.0, 100.0, 50.0)  # IoU 0.5 with NEAR
BELOW_HALF = (0.0, 0.0, 100.0, 49.0)
TENTH = (0.0, 0.0, 100.0, 10.0)
BELOW_TENTH = (0.0, 0.0, 100.0, 9.0)
FAR = (200.0, 200.0, 300.0, 300.0)


@pytest.mark.parametrize(
    ("box", "label", "kind", "missed"),
    [
        (NEAR, "text", None, ()),
        (HALF, "text", None, ()),
        (BELOW_HALF, "text", "localisation", ()),
        (TENTH, "text", "localisation", ()),
        (BELOW_TENTH, "text", "background", (0,)),
        (FAR, "text", "background", (0,)),
        (NEAR, "title", "classification", ()),
        (HALF, "title", "classification", ()),
        (BELOW_HALF, "title", "both", (0,)),
        (BELOW_TENTH, "title", "background", (0,)),
    ],
)
def test_one_detection_and_one_object(detected, labelled, box, label, kind, missed):
    verdicts = judge(detected((box, 0.9, label)), labelled((NEAR, "text")))
    assert verdicts.detections == (kind,)
    assert verdicts.missed == missed
    assert len(verdicts) == (kind is not None) + len(missed)


def test_second_box_of_an_object_is_a_duplicate_whichever_fits_better(detected, labelled):
    verdicts = judge(detected((HALF, 0.9, "text"), (NEAR, 0.8, "text")), labelled((NEAR, "text")))
    assert verdicts.detections == (None, "duplicate")
    assert not verdicts.missed


def test_next_detection_takes_the_object_that_is_left(detected, labelled):
    left, right = (0.0, 0.0, 100.0, 100.0), (30.0, 0.0, 130.0, 100.0)
    verdicts = judge(detected((right, 0.9, "text"), (right, 0.8, "text")), labelled((left, "text"), (right, "text")))
    assert verdicts.detections == (None, None)


def test_wrong_class_does_not_take_an_object_from_the_right_one(detected, labelled):
    verdicts = judge(detected((NEAR, 0.9, "title"), (NEAR, 0.8, "text")), labelled((NEAR, "text")))
    assert verdicts.detections == ("classification", None)


def test_crowds_are_neither_missed_nor_found_wrongly(detected, labelled):
    truth = labelled((NEAR, "text"), (FAR, "text"), crowd=np.array([False, True]))
    inside, beside = (210.0, 210.0, 230.0, 230.0), (290.0, 200.0, 390.0, 300.0)
    verdicts = judge(detected((inside, 0.9, "text"), (beside, 0.8, "text")), truth)
    assert verdicts.detections == (None, "background")
    assert verdicts.missed == (0,)


def test_without_detections_all_is_missed_and_without_objects_all_is_background(detected, labelled):
    assert judge(detected(), labelled((NEAR, "text"), (FAR, "table"))).missed == (0, 1)
    assert judge(detected((NEAR, 0.9, "text")), labelled()).detections == ("background",)
    assert len(judge(detected(), labelled())) == 0


def test_mistakes_are_counted_by_class_kind_and_image(detected, labelled):
    predictions = [detected((NEAR, 0.9, "title"), (FAR, 0.8, "text")), detected((NEAR, 0.9, "text")), detected()]
    truths = [labelled((NEAR, "text")), labelled((NEAR, "text")), labelled((NEAR, "list"), (FAR, "list"))]
    counted = mistakes(predictions, truths)
    assert counted.by_class == {"list": {"missed": 2}, "text": {"background": 1}, "title": {"classification": 1}}
    assert counted.by_image == (2, 0, 2)
    assert [counted.count(kind) for kind in KINDS] == [1, 0, 0, 0, 1, 2]


def test_images_must_be_the_same(detected, labelled):
    with pytest.raises(ValueError, match="longer"):
        mistakes([detected()], [labelled(), labelled()])
