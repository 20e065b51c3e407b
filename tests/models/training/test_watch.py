import pytest

from models.evaluation.coco_metrics import CocoMetrics
from models.training.objective.matcher import NotFinite
from models.training.validation import Validation
from models.training.watch import WINDOW, Watch


def validated(ap50, **best_scores):
    return Validation({"exact": CocoMetrics(ap50 / 2, ap50, ap50 / 2, {}, {})}, best_scores)


def reported(watch, losses, steps=300):
    said = []
    for index, loss in enumerate(losses, 1):
        said += watch.losses(index * steps // len(losses), {"total": loss})
    return said


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(loss):
    with pytest.raises(NotFinite, match="the loss of step 7"):
        Watch(100).losses(7, {"total": loss})


def test_a_loss_that_does_not_fall_is_said_once():
    said = reported(Watch(300), [10.0] * 5 * WINDOW)
    assert len(said) == 1
    assert "the loss has not fallen" in said[0]
    assert "--minutes" in said[0]


def test_a_loss_that_falls_is_not_worth_a_word():
    assert reported(Watch(300), [10.0 - step / 25 for step in range(5 * WINDOW)]) == []
    assert reported(Watch(10_000), [10.0] * 5 * WINDOW) == []  # it is early


def test_a_run_that_goes_on_does_not_know_how_high_its_loss_was():
    assert reported(Watch(300, step=200), [10.0] * 5 * WINDOW) == []
    with pytest.raises(NotFinite):
        Watch(300, step=200).losses(201, {"total": float("nan")})


def test_nothing_detected_after_a_third_of_the_run_warns_once():
    watch = Watch(300)
    assert watch.validation(60, validated(0.0, cat=0.0)) == []
    assert "nothing is detected yet after 100 of 300 steps" in watch.validation(100, validated(0.0, cat=0.3))[0]
    assert watch.validation(200, validated(0.0, cat=0.3)) == []
    assert watch.validation(300, validated(0.4, cat=0.9)) == []


def test_classes_that_are_never_predicted_are_named():
    watch = Watch(300)
    assert watch.validation(60, validated(0.4, cat=0.9, dog=0.0)) == []
    said = watch.validation(150, validated(0.4, cat=0.9, dog=0.01, owl=0.0))
    assert len(said) == 1
    assert "never predicted so far: dog, owl;" in said[0]
    assert watch.validation(160, validated(0.4, cat=0.9, dog=0.01, owl=0.0)) == []
    assert watch.validation(170, validated(0.4, cat=0.9, dog=0.4, owl=0.5)) == []
