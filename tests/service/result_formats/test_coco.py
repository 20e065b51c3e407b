from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core.mask import decode

from models.masks.forms import segmentations
from models.masks.masks import Masks
from service.result_formats.coco import coco_results

CATEGORIES = {"text": 1, "table": 4}


def test_a_row_has_its_box_as_corner_and_sides(answer: dict[str, Any]) -> None:
    assert coco_results(answer, 7, CATEGORIES) == [
        {"image_id": 7, "category_id": 4, "bbox": [20.0, 10.5, 100.01, 49.5], "score": 0.9},
        {"image_id": 7, "category_id": 1, "bbox": [0.0, 0.0, 200.0, 100.0], "score": 0.6},
    ]


def test_an_image_without_detections_has_no_rows(answer: dict[str, Any]) -> None:
    assert coco_results(answer | {"detections": []}, "page.png", CATEGORIES) == []


def test_a_class_without_an_id_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="table"):
        coco_results(answer, 7, {"text": 1})


@pytest.mark.parametrize("found", [2, 1])
def test_cocos_evaluator_reads_the_rows(answer: dict[str, Any], found: int) -> None:
    results = coco_results(answer, 7, CATEGORIES)
    rows = enumerate(results, 1)
    objects = [row | {"id": i, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]} for i, row in rows]
    truth = COCO(
        {
            "images": [{"id": 7, "width": 200, "height": 100}],
            "categories": [{"id": number, "name": name} for name, number in CATEGORIES.items()],
            "annotations": copy.deepcopy(objects),
        }
    )
    evaluator = COCOeval_faster(truth, truth.loadRes(results[:found]), "bbox", print_function=lambda *_: None)
    evaluator.run()
    assert evaluator.stats[0] == pytest.approx(found / 2)


def test_masks_stay_what_they_are(answer: dict[str, Any]) -> None:
    cells = np.zeros((2, 10, 20), np.float32)
    cells[0, 2:6, 3:9] = cells[1, 0:9, 1:19] = 1
    masks = Masks(cells, (10.0, 20.0), 100, 200)
    for detection, runs in zip(answer["detections"], segmentations(masks, "rle"), strict=True):
        detection["segmentation"] = runs
    rows = coco_results(answer, 7, CATEGORIES)
    for row, mask in zip(rows, masks, strict=True):
        assert np.array_equal(decode(row["segmentation"]), mask)
