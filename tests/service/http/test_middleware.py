from __future__ import annotations

import logging
from typing import Any

import pytest


def test_a_plain_request_id_is_echoed_and_others_are_replaced(service: Any) -> None:
    def echoed(requested: str) -> str:
        response = service.client.get("/livez", headers={"x-request-id": requested})
        return str(response.headers["x-request-id"])

    assert echoed("trace-1.2:3") == "trace-1.2:3"
    for requested in ("", "with space", "x" * 129, '<script>"'):
        assert len(echoed(requested)) == 32


def test_server_timing_has_the_stages(service: Any, png: bytes) -> None:
    timing = service.client.post("/detect", content=png).headers["server-timing"]
    names = [part.split(";")[0] for part in timing.split(", ")]
    stages = ["read", "wait", "decode", "preprocess", "queue", "inference", "postprocess", "total"]
    assert names == stages
    assert all(float(part.split("dur=")[1]) >= 0 for part in timing.split(", "))


def test_every_request_has_one_log_line(service: Any, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "act_detr.request")
    service.client.post("/detect?attention=act", content=png, headers={"x-request-id": "mine"})
    service.client.post("/detect", content=b"junk")
    service.client.get("/livez")
    good, bad = [vars(record) for record in caplog.records if record.name == "act_detr.request"]
    assert (good["request_id"], good["route"], good["status"]) == ("mine", "/detect", 200)
    assert (good["attention"], good["bytes"], good["image"], good["batch_size"]) == ("act", len(png), "60x40", 1)
    assert good["stages_ms"]["inference"] >= 0
    assert (bad["status"], bad["error"]) == (415, "unsupported-image-type")


def test_an_unexpected_error_is_a_500_problem(start: Any, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with start() as server:
        server.service.pipeline.detect = None  # calling it raises TypeError
        response = server.client.post("/detect", content=png)
        assert (response.status_code, response.json()["type"]) == (500, "internal-error")
        assert response.headers["content-type"] == "application/problem+json"
        assert "NoneType" not in response.text
        assert "NoneType" in caplog.text
        server.eventually(server.idle)


def test_the_response_to_a_large_refused_body_arrives(start: Any) -> None:
    with start(max_bytes=1000) as server:
        for _ in range(5):
            response = server.client.post("/detect", content=b"x" * 5_000_000)
            assert (response.status_code, response.headers["connection"]) == (413, "close")
