from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.attention_config import AttentionConfig
from models.detector import DeviceOutOfMemory
from service.errors import all_errors

PROBLEM = "application/problem+json"
SIDES = "/compare?left=exact&right=tangent&C=16"


def problem(response: Any, status: int, cause: str) -> dict[str, Any]:
    """Assert that the response is this problem, and return it."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["type"]) == (status, cause), response.text
    assert response.headers["content-type"] == PROBLEM
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "batch_size")}


def test_each_side_is_what_detect_answers(service: Any, png: bytes) -> None:
    compared = service.client.post(SIDES + "&threshold=0", content=png)
    assert compared.status_code == 200, compared.text
    for side, query in (("left", "exact"), ("right", "tangent&C=16")):
        alone = service.client.post(f"/detect?threshold=0&attention={query}", content=png).json()
        answer = compared.json()[side]
        assert without_times(answer) == without_times(alone)
        assert list(answer["timing_ms"]) == list(alone["timing_ms"])
    assert "inference;dur=" in compared.headers["server-timing"]


def test_pairs_and_what_only_one_side_has(start: Any, detector: Any, encoded: Any) -> None:
    """The fake detector's second box grows with the image's size; so half as high, only the first ones agree."""
    image = encoded()
    with start() as server:
        answer = server.client.post(SIDES + "&threshold=0", content=image).json()
        assert answer["pairs"] == [{"left": row, "right": row, "iou": 1.0, "score_difference": 0.0} for row in range(3)]
        assert (answer["only_left"], answer["only_right"]) == ([], [])
        predict = detector._predict

        def shifted(image: Any, attention: AttentionConfig, mask: bool) -> Any:
            prediction = predict(image, attention, mask)
            if attention.mode == "tangent":
                prediction.detections.boxes_xyxy[1] += 1000
                prediction.detections.scores[0] -= 0.25
            return prediction

        detector._predict = shifted
        answer = server.client.post(SIDES, content=image).json()
    assert [(pair["left"], pair["right"]) for pair in answer["pairs"]] == [(0, 0)]
    assert answer["pairs"][0]["score_difference"] == -0.25
    assert (answer["only_left"], answer["only_right"]) == ([1], [1])


def test_sizes_of_the_sides_may_differ(service: Any, encoded: Any) -> None:
    query = "/compare?left=exact&right=exact&right_size=304"
    answer = service.client.post(query, content=encoded(size=(80, 80))).json()
    assert (answer["left"]["resized"]["width"], answer["right"]["resized"]["width"]) == (64, 55)


def test_an_image_is_decoded_once_and_both_sides_may_run_with_others(start: Any, detector: Any, png: bytes) -> None:
    with start(max_delay_ms=2000, max_batch=2, streams=1) as server:
        answer = server.client.post("/compare?left=exact&right=exact", content=png).json()
        assert (answer["left"]["batch_size"], answer["right"]["batch_size"]) == (2, 2)
        assert detector.batches == [(2, AttentionConfig.exact())]
        assert answer["left"]["timing_ms"]["decode"] == answer["right"]["timing_ms"]["decode"]
        assert server.metric("act_detr_images_total", attention="exact") == 2
        assert server.metric("act_detr_inflight_requests") == 0
        labels = {"route": "/compare", "attention": "exact", "status": "200"}
        assert server.metric("act_detr_request_duration_seconds_count", **labels) == 1


def test_tiles_are_cut_on_both_sides(start: Any, encoded: Any) -> None:
    with start() as server:
        answer = server.client.post(SIDES + "&tiles=auto", content=encoded(size=(60, 200))).json()
        assert answer["left"]["tiles"] == answer["right"]["tiles"] == {"rows": 3, "columns": 1}
        assert len(server.detector.batches) == 6


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("right=act", "left: Field required"),
        ("left=exact&right=exakt", "right: 'exakt': the mode must be one of exact, act, tangent, merge, auto"),
        ("left=exact&right=act:L=0", "right: L must be between 1 and 64, not 0"),
        ("left=exact&right=tangent&L=4", "L: it is only valid with act"),
        ("left=exact&right=act&right=exact", "right: given more than once"),
        ("left=exact&right=act&masks=rle", "masks: There is no such parameter"),
        ("left=exact&right=act&left_size=303", "left_size: must be between 304 and 416 pixels here, not 303"),
        ("left=exact&right=act&tiles=9x9", "tiles: 9x9 are 81 tiles"),
        ("left=exact&right=act&threshold=2", "threshold: Input should be less than or equal to 1"),
    ],
)
def test_bad_parameters_are_named(service: Any, png: bytes, query: str, detail: str) -> None:
    answer = service.client.post("/compare?" + query, content=png)
    assert detail in problem(answer, 422, "bad-parameter")["detail"]


def test_bad_images(service: Any, png: bytes) -> None:
    problem(service.client.post(SIDES, content=b"not an image"), 415, "unsupported-image-type")
    problem(service.client.post(SIDES, content=png[:200]), 422, "undecodable-image")


def test_if_one_side_fails_the_error_says_which(start: Any, detector: Any, png: bytes) -> None:
    predict = detector._predict

    def too_large(image: Any, attention: AttentionConfig, mask: bool) -> Any:
        if attention.mode == "tangent":
            raise DeviceOutOfMemory("no room")
        return predict(image, attention, mask)

    detector._predict = too_large
    with start() as server:
        refused = problem(server.client.post(SIDES, content=png), 507, "out-of-memory")
        assert refused["side"] == "right"
        assert refused["detail"].startswith("The right side (tangent:C=16) failed: The image is too large")
        assert server.metric("act_detr_rejected_total", reason="out-of-memory") == 1
        server.eventually(server.idle)


def test_a_queue_without_room_for_both_sides_refuses_before_it_decodes(start: Any, detector: Any, png: bytes) -> None:
    with start(max_queue=2, max_batch=1, streams=1) as server, ThreadPoolExecutor(2) as pool:
        detector.gate.clear()
        accepted = [pool.submit(server.client.post, "/detect", content=png)]
        server.eventually(lambda: detector.entered == 1)
        accepted.append(pool.submit(server.client.post, "/detect", content=png))
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 1)
        refused = server.client.post(SIDES, content=b"not an image")
        assert int(refused.headers["retry-after"]) == problem(refused, 429, "queue-full")["retry_after"] >= 1
        detector.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200, 200]
        server.eventually(server.idle)
        assert server.client.post(SIDES, content=png).status_code == 200


def test_a_deadline_that_passes_in_the_queue_is_a_504(start: Any, detector: Any, png: bytes) -> None:
    with start(streams=1) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        running = pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        late = server.client.post(SIDES + "&deadline_ms=80", content=png)
        detector.gate.set()
        assert problem(late, 504, "deadline-passed")["side"] in ("left", "right")
        assert running.result().status_code == 200
        server.eventually(server.idle)


def test_it_can_be_turned_off_and_needs_the_key(start: Any, png: bytes) -> None:
    with start(explain=False) as server:
        off = problem(server.client.post("/compare?nonsense=1", content=png), 404, "not-found")
        assert "ACT_DETR_EXPLAIN" in off["detail"]
        assert server.client.get("/model").json()["explain"] is False
    with start(api_key="key") as server:
        problem(server.client.post(SIDES, content=png), 401, "unauthorized")
        assert server.client.post(SIDES, content=png, headers={"x-api-key": "key"}).status_code == 200


def test_openapi_documents_the_answer_and_its_errors(service: Any) -> None:
    document = service.client.get("/openapi.json").json()
    compare = document["paths"]["/compare"]["post"]
    assert "image/jpeg" in compare["requestBody"]["content"]
    examples = [row["content"][PROBLEM]["examples"] for status, row in compare["responses"].items() if status != "200"]
    documented = {name for row in examples for name in row}
    assert documented == {cause.type for cause in all_errors()} - {"method-not-allowed", "client-closed"}
    required = {row["name"] for row in compare["parameters"] if row["required"]}
    assert required == {"left", "right"}
    assert "HTTPValidationError" not in json.dumps(compare)
