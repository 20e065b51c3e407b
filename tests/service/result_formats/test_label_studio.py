from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from service.result_formats.label_studio import label_studio_prediction, label_studio_task, labelling_interface


def test_a_rectangle_is_in_percent_of_the_image(answer: dict[str, Any]) -> None:
    prediction = label_studio_prediction(answer)
    assert (prediction["model_version"], prediction["score"]) == ("pages-small", 0.75)
    first, second = prediction["result"]
    assert first == {
        "id": "0-0",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": {
            "x": 10.0,
            "y": 10.5,
            "width": 50.005,
            "height": 49.5,
            "rotation": 0,
            "rectanglelabels": ["table"],
        },
        "score": 0.9,
    }
    assert second["value"]["width"] == second["value"]["height"] == 100


def test_each_part_of_a_mask_is_a_polygon(answer: dict[str, Any]) -> None:
    answer["detections"][0]["segmentation"] = [[20, 10, 40, 10, 40, 30], [100, 50, 120, 50, 120, 60, 100, 60]]
    answer["detections"][1]["segmentation"] = []
    regions = label_studio_prediction(answer)["result"]
    assert [region["id"] for region in regions] == ["0-0", "0-1"]
    assert {region["type"] for region in regions} == {"polygonlabels"}
    assert regions[0]["value"] == {"points": [[10, 10], [20, 10], [20, 30]], "polygonlabels": ["table"]}


def test_masks_as_runs_are_refused(answer: dict[str, Any]) -> None:
    answer["detections"][0]["segmentation"] = {"size": [100, 200], "counts": "Z"}
    with pytest.raises(ValueError, match="as polygons, not as runs"):
        label_studio_prediction(answer)


def test_an_image_without_detections_is_an_empty_prediction(answer: dict[str, Any]) -> None:
    prediction = label_studio_prediction(answer | {"detections": []})
    assert prediction == {"model_version": "pages-small", "score": 0.0, "result": []}


def test_a_task_names_its_image(answer: dict[str, Any]) -> None:
    task = label_studio_task(answer, "/data/local-files/?d=page.png")
    assert task == {
        "data": {"image": "/data/local-files/?d=page.png"},
        "predictions": [label_studio_prediction(answer)],
    }


def test_the_interface_has_the_tags_that_predictions_name(answer: dict[str, Any]) -> None:
    root = ElementTree.fromstring(labelling_interface(["text", 'a "<b>"']))
    labels, image = root.find("RectangleLabels"), root.find("Image")
    (first, *_) = label_studio_prediction(answer)["result"]
    assert labels is not None
    assert image is not None
    assert (labels.get("name"), labels.get("toName")) == (first["from_name"], first["to_name"])
    assert image.get("name") == first["to_name"]
    assert [label.get("value") for label in labels] == ["text", 'a "<b>"']
