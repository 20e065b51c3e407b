"""A sheet of real detections of a tiny model, and of made ones where colours matter."""

from dataclasses import replace

import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.data.samples import Sample
from models.evaluation.evaluate import evaluate
from models.evaluation.mistake_sheet import MISSED, RIGHT, WRONG, mistake_sheet
from models.evaluation.mistakes import mistakes

TOP = (10.0, 10.0, 70.0, 40.0)
BOTTOM = (10.0, 60.0, 70.0, 90.0)


class Blank:
    """White images of 100 x 80 with the given objects."""

    def __init__(self, *truths):
        self.truths = truths

    def __len__(self):
        return len(self.truths)

    def __getitem__(self, index):
        return Sample(np.full((100, 80, 3), 255, np.uint8), self.truths[index])


def colours(sheet):
    return {tuple(colour) for _, colour in sheet.getcolors(maxcolors=1 << 20)}


def rgb(text):
    return tuple(bytes.fromhex(text[1:]))


@pytest.fixture
def evaluation(detector, pages):
    (exact,) = evaluate(detector, pages, [AttentionConfig.exact()])
    return exact


def of(evaluation, detections, truths):
    return replace(evaluation, detections=tuple(detections), mistakes=mistakes(detections, truths))


def test_evaluation_has_the_detections_that_are_served_and_their_mistakes(evaluation, pages):
    assert len(evaluation.detections) == len(evaluation.mistakes.by_image) == len(pages)
    assert all((detections.scores >= 0.5).all() for detections in evaluation.detections)
    assert evaluation.mistakes == mistakes(evaluation.detections, [page.truth for page in pages])
    assert sum(evaluation.mistakes.by_image) > 0  # the weights are random


def test_sheet_of_a_real_evaluation_has_a_row_for_two_pages(evaluation, pages, detector):
    assert mistake_sheet(pages, evaluation, detector.labels).size == (2 * (2 * 96 + 8), 128 + 8)


def test_right_wrong_and_missed_have_their_colours(evaluation, detected, labelled):
    cases = {
        (RIGHT,): (detected((TOP, 0.9, "text")), labelled((TOP, "text"))),
        (WRONG, MISSED): (detected((BOTTOM, 0.9, "text")), labelled((TOP, "text"))),
        (RIGHT, WRONG): (detected((TOP, 0.9, "list")), labelled((TOP, "text"))),  # found, but of another class
    }
    for expected, (detections, truth) in cases.items():
        sheet = mistake_sheet(Blank(truth), of(evaluation, [detections], [truth]), ("text", "list"))
        shown = colours(sheet) & {rgb(colour) for colour in (RIGHT, WRONG, MISSED)}
        assert shown == {rgb(colour) for colour in expected}


def test_images_with_most_mistakes_come_first(evaluation, detected, labelled):
    truths = [labelled((TOP, "text")), labelled((TOP, "text"), (BOTTOM, "text"))]
    made = of(evaluation, [detected((TOP, 0.9, "text")), detected()], truths)
    sheet = mistake_sheet(Blank(*truths), made, ("text",), shown=1)
    assert rgb(MISSED) in colours(sheet)
    assert sheet.size == (2 * 80 + 8, 100 + 8)


def test_other_samples_are_refused(evaluation, labelled):
    with pytest.raises(ValueError, match="1 samples are not the 2 of the evaluation"):
        mistake_sheet(Blank(labelled()), evaluation, ("text",))
