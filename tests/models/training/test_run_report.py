import json

import numpy as np
import pytest

from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.training.run_report import contact_sheet, curves, precision_lines, read_rows, write_report
from models.weights import save_checkpoint

RUN = [
    {"step": 10, "total": 9.0, "one_to_one/class": 2.0, "rate": 1e-4},
    {"step": 10, "AP/exact": 0.2, "AP50/exact": 0.4, "AP75/exact": 0.1, "AP cat/exact": 0.3, "AP dog/exact": 0.1},
    {"step": 20, "AP/exact": 0.1, "AP50/exact": 0.3, "AP75/exact": 0.1, "AP cat/exact": 0.2, "AP dog/exact": 0.0},
]
REFINEMENT = [{"step": 5, "total": 3.0, "iou/given": 0.5, "iou/stage 1": 0.6}]


def grey(index, boxes):
    truth = GroundTruth(np.array(boxes, np.float64).reshape(-1, 4), ("text",) * len(boxes))
    return Sample(np.full((60 + 20 * index, 80, 3), 128, np.uint8), truth)


GREY = [grey(0, [[5, 5, 40, 30]]), grey(1, []), grey(2, [[5, 5, 40, 30]])]
"""Three images of different sizes, the second one without objects."""


@pytest.fixture
def finished(tiny_detr, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in RUN))
    (tmp_path / "refinement").mkdir()
    (tmp_path / "refinement" / "metrics.jsonl").write_text(json.dumps(REFINEMENT[0]) + "\n")
    save_checkpoint(tmp_path / "model.safetensors", tiny_detr.state_dict(), tiny_detr.config)
    return tmp_path


def test_the_best_validation_is_reported_by_class():
    lines = precision_lines({"run": RUN, "box refinement": REFINEMENT})
    assert lines == [
        "best in validation, after step 10 of the run: AP 0.200, AP50 0.400; AP by class: cat 0.300, dog 0.100"
    ]
    better = [{**RUN[1], "AP/exact": 0.5}]
    assert "of the box refinement: AP 0.500" in precision_lines({"run": RUN, "box refinement": better})[0]
    assert precision_lines({"run": RUN[:1]}) == []


def test_curves_have_every_loss_and_every_precision():
    figure = curves({"run": RUN, "box refinement": REFINEMENT})
    lines = {line.get_label(): line.get_xydata().tolist() for axes in figure.axes for line in axes.lines}
    assert lines["AP/exact"] == [[10, 0.2], [20, 0.1]]
    assert lines["AP dog/exact"] == [[10, 0.1], [20, 0.0]]
    assert lines["iou/stage 1"] == [[5, 0.6]]
    assert lines["one_to_one/class"] == [[10, 2.0]]
    assert "rate" not in lines
    assert len(curves({"run": []}).axes) == 2  # a run that was shorter than its first report


def test_labels_and_detections_are_side_by_side(finished):
    sheet = contact_sheet(finished / "model.safetensors", GREY)
    assert sheet.size[0] == 2 * (2 * 80 + 8)
    assert sheet.size[1] == 2 * (100 + 8)
    pixels = np.asarray(sheet)
    assert (pixels[5, 5:40] != 128).any()  # the box of the label


def test_a_finished_run_leaves_pictures_and_says_what_to_type(finished):
    said = []
    write_report(finished, "refinement", GREY, said.append)
    assert (finished / "curves.png").stat().st_size > 1000
    assert (finished / "validation.png").stat().st_size > 1000
    assert said[-1] == f"{finished}/model.safetensors is ready: act-detr serve --model {finished}/model.safetensors"
    assert read_rows(finished / "nothing.jsonl") == []


def test_without_validation_there_is_no_contact_sheet(finished):
    said = []
    write_report(finished, "refinement", None, said.append)
    assert not (finished / "validation.png").exists()
    assert "validation.png" not in " ".join(said)
