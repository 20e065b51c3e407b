"""Answers in the formats of other tools, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.result_formats.coco import coco_results
from service.result_formats.label_studio import label_studio_prediction

IDS = {"text": 1, "title": 2, "list": 3, "table": 4, "figure": 5}


@pytest.fixture(scope="module")
def segmenting_service(run_server: Callable[..., Any], service: Any) -> Iterator[Any]:
    with run_server(type(service.detector)(mask_refusal=None)) as server:
        yield server


def detected(service: Any, png: bytes, query: str = "") -> Any:
    answer = service.client.post(f"/detect?{query}", content=png)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def refusal(answer: Any) -> str:
    assert (answer.status_code, answer.json()["type"]) == (422, "bad-parameter"), answer.text
    return str(answer.json()["detail"])


def test_coco_is_a_row_for_each_detection(service: Any, png: bytes) -> None:
    plain = detected(service, png)
    assert detected(service, png, "format=coco") == coco_results(plain, 0, IDS)
    assert detected(service, png, "format=coco&threshold=1") == []


@pytest.mark.parametrize(
    ("given", "image_id"),
    [("42", 42), ("000000000139", 139), ("page 1.png", "page 1.png"), ("-1", "-1"), ("9" * 19, "9" * 19)],
)
def test_an_image_id_of_digits_is_a_number(service: Any, png: bytes, given: str, image_id: int | str) -> None:
    rows = detected(service, png, f"format=coco&image_id={given}")
    assert {row["image_id"] for row in rows} == {image_id}


def test_the_model_card_has_the_ids_of_the_classes(service: Any) -> None:
    assert service.client.get("/model").json()["category_ids"] == IDS


def test_label_studio_is_a_prediction(service: Any, png: bytes) -> None:
    assert detected(service, png, "format=label-studio") == label_studio_prediction(detected(service, png))


def test_masks_are_in_the_formats_too(segmenting_service: Any, png: bytes) -> None:
    plain = detected(segmenting_service, png, "masks=rle")
    rows = detected(segmenting_service, png, "masks=rle&format=coco")
    assert [row["segmentation"] for row in rows] == [row["segmentation"] for row in plain["detections"]]
    prediction = detected(segmenting_service, png, "masks=polygons&format=label-studio")
    assert {region["type"] for region in prediction["result"]} == {"polygonlabels"}


def test_masks_as_runs_are_refused_for_label_studio(segmenting_service: Any, png: bytes) -> None:
    answer = segmenting_service.client.post("/detect?masks=rle&format=label-studio", content=png)
    assert "use masks=polygons" in refusal(answer)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("format=voc", "format: Input should be 'coco' or 'label-studio'"),
        ("image_id=1", "image_id: is only valid with format=coco"),
        ("format=label-studio&image_id=1", "image_id: is only valid with format=coco"),
        ("format=coco&image_id=1&image_id=2", "image_id: given 2 times for 1 image"),
        ("format=coco&image_id=", "image_id.0: String should have at least 1 character"),
        ("format=coco&format=coco", "format: given more than once"),
    ],
)
def test_bad_formats_are_named(service: Any, png: bytes, query: str, detail: str) -> None:
    assert detail in refusal(service.client.post(f"/detect?{query}", content=png))


def test_a_picture_in_a_format_is_refused(service: Any, png: bytes) -> None:
    answer = service.client.post("/detect?format=coco", content=png, headers={"Accept": "image/png"})
    assert "format: cannot be combined with" in refusal(answer)


@pytest.mark.parametrize(("query", "ids"), [("", [0, 2]), ("&image_id=7&image_id=b&image_id=9", [7, 9])])
def test_a_batch_has_an_answer_for_each_image(service: Any, png: bytes, query: str, ids: list[int]) -> None:
    files = [("image", png), ("image", b"no image"), ("image", png)]
    first, failed, last = service.client.post(f"/detect/batch?format=coco{query}", files=files).json()["results"]
    assert failed["error"]["type"] == "unsupported-image-type"
    assert [{row["image_id"] for row in rows} for rows in (first, last)] == [{number} for number in ids]
    plain = detected(service, png, "format=coco")
    assert [row | {"image_id": 0} for row in first] == plain


def test_a_batch_of_predictions(service: Any, png: bytes) -> None:
    answer = service.client.post("/detect/batch?format=label-studio", files=[("image", png)])
    assert answer.json() == {"results": [detected(service, png, "format=label-studio")]}


def test_a_batch_needs_an_id_for_each_image(service: Any, png: bytes) -> None:
    answer = service.client.post("/detect/batch?format=coco&image_id=1", files=[("image", png), ("image", png)])
    assert "image_id: given 1 times for 2 images" in refusal(answer)
