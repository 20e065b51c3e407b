from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.attention_config import AttentionConfig
from models.networks.foreign_families import SAMPLES
from models.networks.network import ONLY_EXACT, Family

GRID = {"rows": 40, "columns": 60}
"""The fake detector makes a token of every pixel of this small image."""


def problem(response: Any, status: int, cause: str) -> dict[str, Any]:
    """Assert that the response is this problem, and return it."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["type"]) == (status, cause), response.text
    return body


def explain(service: Any, png: bytes, query: str = "", **headers: str) -> Any:
    return service.client.post(f"/explain?{query}", content=png, headers=headers)


def picture(answer: Any) -> Any:
    assert answer.headers["content-type"] == "image/png", answer.text
    return np.asarray(Image.open(BytesIO(answer.content)))


def test_answer_is_as_documented(service: Any, png: bytes) -> None:
    answer = explain(service, png, "attention=act&L=4&r=2&layer=2&head=3&x=12.5&y=30").json()
    timing = answer.pop("timing_ms")
    assert list(timing) == ["decode", "preprocess", "queue", "inference", "total"]
    assert timing["total"] >= sum(value for name, value in timing.items() if name != "total") - 1
    assignment, weights = answer["clusters"].pop("assignment"), answer.pop("attention_map")
    assert answer.pop("clusters") == {"count": len(set(assignment))}
    assert len(assignment) == 40 * 60
    assert answer.pop("point") == {"x": 12.5, "y": 30, "row": 30, "column": 12, "cluster": assignment[30 * 60 + 12]}
    assert set(weights) == {"exact", "approximate", "difference"}
    for row in (weights["exact"], weights["approximate"]):
        assert len(row) == 40 * 60
        assert sum(row) == pytest.approx(1, abs=1e-4)
        assert row == [round(weight, 8) for weight in row]
    halves = np.abs(np.subtract(weights["exact"], weights["approximate"])).sum() / 2
    assert weights["difference"] == pytest.approx(halves, abs=1e-3)
    assert answer == {
        "image": {"width": 60, "height": 40},
        "resized": {"width": 60, "height": 40},
        "grid": GRID,
        "layers": service.detector.config.encoder_layers,
        "heads": service.detector.config.heads,
        "layer": 2,
        "head": 3,
        "attention": {
            "mode": "act",
            "reason": "asked for",
            "L": 4,
            "r": 2.0,
            "seed": 0,
            "C": None,
            "ratio": None,
            "metric": "query",
            "tokens": 2400,
            "merged_tokens": None,
        },
        "model": "fake",
    }
    assert service.detector.explained[-1] == (AttentionConfig.act(4, 2.0), 2)


def test_without_a_point_there_are_only_clusters(service: Any, png: bytes) -> None:
    answer = explain(service, png, "attention=tangent&C=8").json()
    assert (answer["layer"], answer["head"], answer["point"], answer["attention_map"]) == (0, 0, None, None)
    assert 1 < answer["clusters"]["count"] <= 8
    assert (answer["attention"]["C"], answer["attention"]["metric"]) == (8, "key")


def test_exact_attention_has_no_clusters_and_no_approximation(service: Any, png: bytes) -> None:
    answer = explain(service, png, "attention=exact&x=0&y=0").json()
    assert answer["clusters"] is None
    assert answer["point"] == {"x": 0, "y": 0, "row": 0, "column": 0, "cluster": None}
    assert (answer["attention_map"]["approximate"], answer["attention_map"]["difference"]) == (None, None)


def test_auto_explains_what_it_would_run(service: Any, png: bytes) -> None:
    answer = explain(service, png, "attention=auto").json()
    detected = service.client.post("/detect", content=png).json()["attention"]
    assert answer["attention"] == {name: detected[name] for name in answer["attention"]}
    assert answer["attention"]["reason"].startswith("auto: ")


def test_tangent_weights_may_be_negative_and_those_of_act_are_not(service: Any, png: bytes) -> None:
    for query, negative in (("tangent&C=2", True), ("act&L=1&r=20", False)):
        weights = explain(service, png, f"attention={query}&x=30&y=20").json()["attention_map"]["approximate"]
        assert (min(weights) < 0) == negative


@pytest.mark.parametrize(
    ("query", "detail", "parameter"),
    [
        ("layer=6", "layer: must be between 0 and 5 here, not 6", "layer"),
        ("head=4", "head: must be between 0 and 3 here, not 4", "head"),
        ("layer=-1", "layer: Input should be greater than or equal to 0", None),
        ("x=3", "y: is missing; a point has both x and y", "y"),
        ("y=3", "x: is missing; a point has both x and y", "x"),
        ("x=60&y=3", "the point (60, 3) is outside the image, which has 60 x 40 pixels", None),
        ("x=3&y=40", "the point (3, 40) is outside the image, which has 60 x 40 pixels", None),
        ("x=NaN&y=3", "x: Input should be", None),
        ("view=exact", "view: exact shows the attention of a point; give x and y", "view"),
        ("view=everything", "view: Input should be 'clusters', 'exact' or 'approximate'", None),
        ("tiles=2x2", "tiles: There is no such parameter", None),
        ("threshold=0.5", "threshold: There is no such parameter", None),
        ("attention=exact&L=3", "`L` is only valid with attention=act", "L"),
        ("size=1", "size: must be between", "size"),
        ("layer=1&layer=2", "layer: given more than once", "layer"),
    ],
)
def test_bad_parameters_are_named(service: Any, png: bytes, query: str, detail: str, parameter: str | None) -> None:
    body = problem(explain(service, png, query), 422, "bad-parameter")
    assert detail in body["detail"]
    assert body.get("parameter") == parameter


def test_a_model_that_only_samples_points_says_so_before_it_reads_the_body(start: Any, detector: Any) -> None:
    detector.family = Family("deformable_detr", "transformers", ONLY_EXACT, SAMPLES)
    with start() as server:
        body = problem(explain(server, b"no image"), 422, "bad-parameter")
        assert body["detail"] == f"fake (deformable_detr) has no attention to explain: {SAMPLES}"


def test_it_can_be_turned_off(start: Any, png: bytes) -> None:
    with start(explain=False) as server:
        assert "turned off" in problem(explain(server, png), 404, "not-found")["detail"]
        assert server.client.post("/detect", content=png).status_code == 200


def test_a_key_is_required_where_one_is_set(start: Any, png: bytes) -> None:
    with start(api_key="secret") as server:
        problem(explain(server, png), 401, "unauthorized")
        assert explain(server, png, authorization="Bearer secret").status_code == 200


def test_a_picture_of_the_clusters_has_a_color_for_each(service: Any, png: bytes) -> None:
    query = "attention=tangent&C=6"
    answer = explain(service, png, query, accept="image/png")
    pixels = picture(answer)
    assert pixels.shape == (40, 60, 3)
    assert answer.headers["x-act-detr-attention"] == "tangent"
    assert answer.headers["x-act-detr-layer"] == answer.headers["x-act-detr-head"] == "0"
    assert (answer.headers["x-act-detr-grid"], answer.headers["x-act-detr-resized"]) == ("40x60", "60x40")
    assert int(answer.headers["x-act-detr-clusters"]) == explain(service, png, query).json()["clusters"]["count"]
    assert explain(service, png, query, accept="image/png").content == answer.content


def test_views_of_a_point_differ_and_the_approximate_one_is_the_default(service: Any, png: bytes) -> None:
    query = "attention=act&L=2&r=8&x=10&y=10"
    default, *views = (
        explain(service, png, query + view, accept="image/png").content
        for view in ("", "&view=approximate", "&view=exact", "&view=clusters")
    )
    assert default == views[0]
    assert len(set(views)) == 3
    exact = explain(service, png, "attention=exact&x=10&y=10", accept="image/png")
    assert "x-act-detr-clusters" not in exact.headers
    assert exact.status_code == 200


@pytest.mark.parametrize("query", ["attention=exact", "attention=exact&view=clusters", "attention=exact&x=1&y=1"])
def test_exact_attention_has_no_picture_of_clusters(service: Any, png: bytes, query: str) -> None:
    view = "&view=approximate" if "x=1" in query else ""
    body = problem(explain(service, png, query + view, accept="image/png"), 422, "bad-parameter")
    assert "this image was attended to exactly" in body["detail"]


def test_explanations_wait_in_the_same_queue_and_are_counted_apart(start: Any, detector: Any, png: bytes) -> None:
    detector.gate.clear()
    with start(max_queue=1, streams=1) as server, ThreadPoolExecutor(2) as callers:
        running = callers.submit(server.client.post, "/detect?attention=act", content=png)
        server.eventually(lambda: detector.entered == 1)
        waiting = callers.submit(explain, server, png, "attention=act")
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 1)
        problem(explain(server, png), 429, "queue-full")
        problem(explain(server, png, "deadline_ms=1"), 429, "queue-full")
        detector.gate.set()
        assert (running.result().status_code, waiting.result().status_code) == (200, 200)
        assert detector.explained == [(AttentionConfig.act(32, 8.0), 0)]
        assert server.metric("act_detr_images_total", attention="act") == 1
        labels = {"route": "/explain", "attention": "act", "status": "200"}
        assert server.metric("act_detr_request_duration_seconds_count", **labels) == 1
        assert server.metric("act_detr_stage_duration_seconds_count", stage="inference", attention="act") == 2


def test_a_deadline_that_passes_in_the_queue_costs_no_device_time(start: Any, detector: Any, png: bytes) -> None:
    detector.gate.clear()
    with start(streams=1) as server, ThreadPoolExecutor(1) as callers:
        running = callers.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        problem(explain(server, png, "deadline_ms=200"), 504, "deadline-passed")
        detector.gate.set()
        assert running.result().status_code == 200
        server.eventually(server.idle)
        assert detector.explained == []


def test_a_caller_that_leaves_frees_its_place(start: Any, detector: Any, png: bytes) -> None:
    detector.gate.clear()
    head = f"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: {len(png)}\r\n\r\n".encode()
    with start(streams=1) as server, ThreadPoolExecutor(1) as callers:
        running = callers.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        server.raw(head + png, finish=False)
        server.eventually(lambda: server.metric("act_detr_cancelled_total") == 1)
        assert server.metric("act_detr_queue_depth") == 0
        detector.gate.set()
        running.result()
        assert detector.explained == []


def test_an_error_of_one_explanation_is_its_own(start: Any, detector: Any, png: bytes) -> None:
    detector.broken = ValueError("oh")
    with start() as server:
        problem(explain(server, png), 500, "internal-error")
        detector.broken = None
        assert explain(server, png).status_code == 200


def test_an_explanation_teaches_nothing_about_the_cost_of_detections(start: Any, png: bytes) -> None:
    with start() as server:
        costs = server.service.pipeline._worker._costs
        before = costs.predict(AttentionConfig.act(7), 10_000), costs.mean
        for _ in range(3):
            explain(server, png, "attention=act")
        assert (costs.predict(AttentionConfig.act(7), 10_000), costs.mean) == before


def test_the_log_has_a_line_like_any_request(service: Any, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="act_detr.request"):
        explain(service, png, "attention=tangent&x=1&y=1", accept="image/png")
    (line,) = caplog.records
    assert (line.route, line.attention, line.status) == ("/explain", "tangent", 200)
    assert list(line.stages_ms) == ["read", "wait", "decode", "preprocess", "queue", "inference", "draw"]
    json.dumps(line.stages_ms)
