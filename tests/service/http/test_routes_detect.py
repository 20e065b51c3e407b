from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from models.attention_config import AttentionConfig
from service.errors import all_errors

PROBLEM = "application/problem+json"


def problem(response: Any, status: int, cause: str) -> dict[str, Any]:
    """Assert that the response is this problem, and return it."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["type"]) == (status, cause), response.text
    assert response.headers["content-type"] == PROBLEM
    assert body["status"] == status
    assert body["title"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "batch_size")}


def test_answer_is_as_documented(service: Any, png: bytes) -> None:
    answer = service.client.post("/detect?attention=act&L=16&r=8", content=png).json()
    timing = answer.pop("timing_ms")
    assert list(timing) == ["decode", "preprocess", "queue", "inference", "postprocess", "total"]
    assert timing["total"] >= sum(value for name, value in timing.items() if name != "total") - 1
    first = answer["detections"][0]
    assert first["label"] == "figure"
    assert first["score"] == 0.9123
    assert list(first["box"]) == ["xmin", "ymin", "xmax", "ymax"]
    assert all(value == round(value, 2) for value in first["box"].values())
    assert answer["image"] == answer["resized"] == {"width": 60, "height": 40}
    assert answer["tiles"] == {"rows": 1, "columns": 1}
    assert answer["attention"]["clusters"][0] == {"layer": 0, "mean": 8.0, "min": 1, "max": 16}
    assert {name: value for name, value in answer["attention"].items() if name != "clusters"} == {
        "mode": "act",
        "reason": "asked for",
        "L": 16,
        "r": 8.0,
        "seed": 0,
        "C": None,
        "ratio": None,
        "metric": "query",
        "tokens": 2400,
        "merged_tokens": None,
        "encoder_gflops": 1.5,
        "exact_encoder_gflops": 3.0,
    }
    assert (answer["batch_size"], answer["model"]) == (1, "fake")


def test_exact_attention_has_neither_rounds_nor_clusters(service: Any, png: bytes) -> None:
    attention = service.client.post("/detect?attention=exact", content=png).json()["attention"]
    assert (attention["mode"], attention["L"], attention["r"], attention["clusters"]) == ("exact", None, None, [])
    assert attention["metric"] is None


def test_an_answer_names_the_metric_that_was_asked_for(service: Any, png: bytes) -> None:
    for query, metric in (("act&metric=key", "key"), ("tangent", "key"), ("tangent&metric=query", "query")):
        attention = service.client.post(f"/detect?attention={query}", content=png).json()["attention"]
        assert (attention["metric"], attention["r"]) == (metric, 2.0 if "act" in query else None)


def test_every_form_of_body_gets_the_same_answer(service: Any, png: bytes) -> None:
    def chunks() -> Any:
        yield png[:100]
        yield png[100:]

    answers = [
        service.client.post("/detect", content=png),
        service.client.post("/detect", content=chunks()),
        service.client.post("/detect", files={"image": ('ümläut " name.png', png, "image/png")}),
        service.client.post("/detect", json={"image": base64.b64encode(png).decode()}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    first, *others = [without_times(answer.json()) for answer in answers]
    assert all(other == first for other in others)


def test_threshold_labels_and_max_detections(service: Any, png: bytes) -> None:
    def labels(query: str) -> list[str]:
        answer = service.client.post("/detect?" + query, content=png).json()
        return [row["label"] for row in answer["detections"]]

    assert labels("") == ["figure", "text"]
    assert labels("threshold=0") == ["figure", "text", "title"]
    assert labels("threshold=1") == []
    assert labels("threshold=0&max_detections=1") == ["figure"]
    assert labels("threshold=0&labels=title,text") == ["text", "title"]
    assert labels("threshold=0&labels=title&labels=text") == ["text", "title"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("attention=act&L=65", "L: Input should be less than or equal to 64"),
        ("attention=act&L=", "L: Input should be a valid integer"),
        ("threshold=NaN", "threshold: Input should be"),
        ("labels=cat", "text, title, list, table, figure"),
        ("treshold=0.5", "treshold: There is no such parameter"),
        ("centres=4", "centres: There is no such parameter"),
        ("threshold=0.5&threshold=0.6", "threshold: given more than once"),
        ("size=303", "size: must be between 304 and 416 pixels here, not 303"),
        ("size=auto", "size: Input should be a valid integer"),
        ("tiles=2", "tiles: String should match pattern"),
        ("tiles=9x9", "tiles: 9x9 are 81 tiles; 32 are allowed"),
        ("attention=exact&L=16", "`L` is only valid with attention=act; this request uses exact"),
    ],
)
def test_bad_parameters_are_named(service: Any, png: bytes, query: str, detail: str) -> None:
    assert detail in problem(service.client.post("/detect?" + query, content=png), 422, "bad-parameter")["detail"]


def test_tiles_are_cut_queued_counted_and_put_together(start: Any, encoded: Any) -> None:
    image = encoded(size=(60, 200))
    with start() as server:
        answer = server.client.post("/detect?tiles=3x2&attention=act&L=16&size=304", content=image).json()
        assert answer["tiles"] == {"rows": 3, "columns": 2}
        assert answer["image"] == {"width": 60, "height": 200}
        most = 64 * 304 // 352  # what the fake detector makes of that size
        assert answer["resized"] == {"width": 35, "height": most}
        attention = answer["attention"]
        assert (attention["tokens"], attention["encoder_gflops"]) == (35 * most, 6 * 1.5)
        assert attention["clusters"][0] == {"layer": 0, "mean": 8.0, "min": 1, "max": 16}
        assert len(server.detector.batches) == 6
        assert server.metric("act_detr_encoder_tokens_count") == 6
        assert server.metric("act_detr_images_total", attention="act") == 1
        assert answer["timing_ms"]["total"] >= sum(answer["timing_ms"].values()) / 2 - 1
        auto = server.client.post("/detect?tiles=auto", content=image).json()
        assert auto["tiles"] == {"rows": 3, "columns": 1}
        batch = server.client.post("/detect/batch?tiles=auto", files=[("image", image), ("image", encoded())]).json()
        assert [row["tiles"]["rows"] for row in batch["results"]] == [3, 1]
        assert batch["results"][0]["detections"] == auto["detections"]
        drawn = server.client.post("/detect?tiles=auto", content=image, headers={"accept": "image/png"})
        assert (drawn.headers["x-act-detr-tiles"], drawn.headers["x-act-detr-resized"]) == ("3x1", "60x64")
        assert Image.open(BytesIO(drawn.content)).size == (60, 200)


def test_more_tiles_than_the_queue_takes_are_refused_together(start: Any, png: bytes) -> None:
    with start(max_queue=3, streams=1) as server:
        refused = server.client.post("/detect?tiles=5x5", content=png)
        assert problem(refused, 429, "queue-full")
        server.eventually(server.idle)
        assert server.client.post("/detect?tiles=1x2", content=png).status_code == 200


def test_settings_change_the_default_attention(start: Any, png: bytes) -> None:
    with start(attention="act", l=20, r=4.0, c=24) as server:
        post = server.client.post
        assert post("/detect", content=png).json()["attention"]["L"] == 20
        act = post("/detect?L=8", content=png).json()["attention"]
        assert (act["L"], act["r"], act["C"]) == (8, 4.0, None)
        tangent = post("/detect?attention=tangent", content=png).json()["attention"]
        assert (tangent["mode"], tangent["C"], tangent["L"]) == ("tangent", 24, None)


def test_bad_images(service: Any, png: bytes) -> None:
    post = service.client.post
    problem(post("/detect", content=b""), 422, "undecodable-image")
    problem(post("/detect", content=b"not an image"), 415, "unsupported-image-type")
    problem(post("/detect", content=png[:200]), 422, "undecodable-image")
    problem(post("/detect", content=png, headers={"content-type": "text/plain"}), 415, "unsupported-image-type")


def test_limits(start: Any, encoded: Any) -> None:
    small = encoded(size=(10, 10))
    large = encoded(size=(30, 30))
    with start(max_bytes=len(small), max_pixels=100) as server:
        post = server.client.post
        assert post("/detect", content=small).status_code == 200
        too_many = problem(post("/detect", content=large), 413, "too-many-bytes")
        assert too_many["limit"] == len(small)
        problem(post("/detect", content=iter([large[:100], large[100:]])), 413, "too-many-bytes")
        problem(post("/detect", files={"image": large}), 413, "too-many-bytes")
        problem(post("/detect", json={"image": base64.b64encode(large).decode()}), 413, "too-many-bytes")
        assert post("/detect", json={"image": base64.encodebytes(small).decode()}).status_code == 200
    with start(max_pixels=899) as server:
        problem(server.client.post("/detect", content=large), 413, "too-many-pixels")


def test_announced_length_is_refused_before_the_body_comes(start: Any) -> None:
    with start(max_bytes=100) as server:
        head = b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"
        answer = server.raw(head)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"100 Continue" not in answer


def test_a_bomb_of_zeros_is_refused_unread(service: Any) -> None:
    head = b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\nContent-Encoding: gzip\r\n"
    answer = service.raw(head + b"Expect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 415")
    assert b"100 Continue" not in answer


def test_png_answer(service: Any, png: bytes) -> None:
    accept = {"accept": "text/html, image/png;q=0.9"}
    response = service.client.post("/detect?attention=act", content=png, headers=accept)
    assert response.headers["content-type"] == "image/png"
    drawn = Image.open(BytesIO(response.content))
    assert drawn.size == (60, 40)
    assert drawn.tobytes() != Image.open(BytesIO(png)).tobytes()
    assert response.headers["x-act-detr-detections"] == "2"
    assert response.headers["x-act-detr-clusters"].split(",")[0] == "16.0"
    assert "draw;dur=" in response.headers["server-timing"]


def test_a_batch_is_answered_in_order_and_only_its_bad_images_fail(service: Any, encoded: Any) -> None:
    images = [encoded(size=(10, 20)), b"junk", encoded(size=(30, 5)), encoded()[:100]]
    response = service.client.post("/detect/batch?threshold=0", files=[("image", image) for image in images])
    first, second, third, fourth = response.json()["results"]
    assert response.status_code == 200
    assert (first["image"], third["image"]) == ({"width": 10, "height": 20}, {"width": 30, "height": 5})
    assert second["error"]["type"] == "unsupported-image-type"
    assert fourth["error"]["type"] == "undecodable-image"
    alone = service.client.post("/detect?threshold=0", content=images[0]).json()
    assert without_times(first) == without_times(alone)


def test_images_of_a_batch_run_together(start: Any, detector: Any, encoded: Any) -> None:
    with start(max_delay_ms=2000, max_batch=4, preprocess_threads=4) as server:
        files = [("image", encoded(seed=seed)) for seed in range(4)]
        results = server.client.post("/detect/batch", files=files).json()["results"]
    assert [row["batch_size"] for row in results] == [4] * 4
    assert [size for size, _ in detector.batches] == [4]


def test_thresholds_reach_the_detector_and_share_a_batch(start: Any, detector: Any, png: bytes) -> None:
    wanted = [0.0, 0.25, 0.5, 0.97]
    with start(max_delay_ms=2000, max_batch=4, preprocess_threads=4) as server, ThreadPoolExecutor(4) as callers:

        def call(threshold: float) -> Any:
            return server.client.post(f"/detect?threshold={threshold}", content=png).json()

        answers = list(callers.map(call, wanted))
    assert [answer["batch_size"] for answer in answers] == [4] * 4
    assert sorted(detector.thresholds) == wanted
    assert [len(answer["detections"]) for answer in answers] == [3, 2, 2, 0]


def test_batch_limits(start: Any, png: bytes) -> None:
    with start(max_batch_parts=2, max_bytes=1000, max_batch_bytes=2000) as server:
        post = server.client.post
        problem(post("/detect/batch", files=[("image", b"x")] * 3), 422, "bad-parameter")
        problem(post("/detect/batch", files=[("image", b"x" * 1500)] * 2), 413, "too-many-bytes")
        results = post("/detect/batch", files=[("image", b"x" * 1001), ("image", b"y")]).json()["results"]
        assert [row["error"]["status"] for row in results] == [413, 415]
        problem(post("/detect/batch", content=png), 415, "unsupported-image-type")
        problem(post("/detect/batch?L=3", files=[("image", png)]), 422, "bad-parameter")


def test_deadline_counts_the_queue(start: Any, detector: Any, png: bytes) -> None:
    with start() as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        response = server.client.post("/detect?deadline_ms=80", content=png)
        detector.gate.set()
        problem(response, 504, "deadline-passed")
        assert detector.entered == 1
        assert server.metric("act_detr_rejected_total", reason="deadline-passed") == 1


def test_a_full_queue_is_a_429_with_retry_after(start: Any, detector: Any, png: bytes) -> None:
    with start(max_queue=1, max_batch=1) as server, ThreadPoolExecutor(2) as pool:
        detector.gate.clear()
        accepted = [pool.submit(server.client.post, "/detect", content=png)]
        server.eventually(lambda: detector.entered == 1)
        accepted.append(pool.submit(server.client.post, "/detect", content=png))
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 1)
        refused = server.client.post("/detect", content=b"not an image")  # refused before it is decoded
        assert int(refused.headers["retry-after"]) == problem(refused, 429, "queue-full")["retry_after"] >= 1
        detector.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200, 200]
        server.eventually(server.idle)


@pytest.mark.parametrize(("width", "waits"), [(8, {2, 3}), (64, {16, 17})])
def test_retry_after_grows_with_the_cost_of_what_waits(
    start: Any, detector: Any, encoded: Any, width: int, waits: set[int]
) -> None:
    """Two images wait while a small one runs, for less than its predicted second or for more."""
    with start(max_queue=2, max_batch=1, streams=1) as server, ThreadPoolExecutor(3) as pool:
        costs = server.service.pipeline._worker._costs
        for pixels, seconds in ((8 * 64, 1.0), (64 * 64, 8.0)):
            costs.record(AttentionConfig.exact(), [pixels], seconds)
        detector.gate.clear()
        post, path = server.client.post, "/detect?attention=exact"
        accepted = [pool.submit(post, path, content=encoded(size=(8, 64)))]
        server.eventually(lambda: detector.entered == 1)
        accepted += [pool.submit(post, path, content=encoded(size=(width, 64))) for _ in range(2)]
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 2)
        assert min(waits) <= server.metric("act_detr_queue_wait_seconds") <= max(waits)
        assert int(post(path, content=b"").headers["retry-after"]) in waits
        detector.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200] * 3
        server.eventually(server.idle)
        assert server.metric("act_detr_prediction_ratio_count") == 3


def test_requests_beyond_max_inflight_get_a_429(start: Any, detector: Any, png: bytes) -> None:
    with start(max_inflight=1) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        running = pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        problem(server.client.post("/detect", content=png), 429, "queue-full")
        detector.gate.set()
        assert running.result().status_code == 200


def test_a_failure_of_the_model_is_a_500_without_its_reason(start: Any, detector: Any, png: bytes) -> None:
    with start() as server:
        detector.broken = ValueError("secret words")
        response = server.client.post("/detect", content=png)
        problem(response, 500, "internal-error")
        assert "secret" not in response.text
        detector.broken = None
        assert server.client.post("/detect", content=png).status_code == 200


def test_openapi_documents_bodies_and_errors(service: Any) -> None:
    document = service.client.get("/openapi.json").json()
    detect = document["paths"]["/detect"]["post"]
    bodies = {"image/jpeg", "image/png", "image/avif", "image/jp2", "multipart/form-data", "application/json"}
    assert bodies <= set(detect["requestBody"]["content"])
    causes = {cause.type for cause in all_errors()} - {"not-found", "method-not-allowed", "client-closed"}
    examples = [row["content"][PROBLEM]["examples"] for status, row in detect["responses"].items() if status != "200"]
    assert {name for row in examples for name in row} == causes
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document)
