from __future__ import annotations

from models.named_models import coco_labels, named_config
from service.result_formats.categories import category_ids


def test_classes_are_numbered_from_1() -> None:
    assert category_ids(("text", "title", "list")) == {"text": 1, "title": 2, "list": 3}


def test_a_published_model_has_cocos_own_ids() -> None:
    ids = category_ids(named_config("detr-r50").labels)
    assert (len(ids), ids["person"], ids["stop sign"], ids["toothbrush"]) == (80, 1, 13, 90)


def test_a_model_with_cocos_classes_in_a_row_has_cocos_ids_too() -> None:
    labels = [label for label in coco_labels() if label is not None]
    assert category_ids(labels) == category_ids(coco_labels())


def test_a_model_whose_ids_have_gaps_keeps_them() -> None:
    assert category_ids(("cat", None, "dog")) == {"cat": 0, "dog": 2}
