from __future__ import annotations

import logging
from typing import Any

import pytest

READABLE = (
    "/",
    "/livez",
    "/readyz",
    "/metrics",
    "/model",
    "/docs",
    "/openapi.json",
    "/static/page.js",
    "/static/icon.svg",
)
OF_THE_MOMENT = ("date", "server-timing", "x-request-id", "content-length")


@pytest.mark.parametrize("path", READABLE)
def test_head_is_get_without_a_body(service: Any, path: str) -> None:
    got, asked = service.client.get(path), service.client.head(path)
    assert (got.status_code, asked.status_code) == (200, 200)
    assert asked.content == b""
    kept = [
        {name: value for name, value in answer.headers.items() if name not in OF_THE_MOMENT} for answer in (got, asked)
    ]
    assert kept[0] == kept[1]
    assert int(asked.headers["content-length"]) > 0
    if path != "/metrics":  # which counts the requests between
        assert asked.headers["content-length"] == got.headers["content-length"]


def test_no_body_follows_and_the_connection_stays_open(service: Any) -> None:
    head = b"HEAD /docs HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"HEAD /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = service.raw(head + last)
    first, second, rest = answers.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 404")
    assert rest == b""


def test_errors_have_the_status_of_get(start: Any, detector: Any) -> None:
    detector.warm.clear()
    with start(warm=False, api_key="key") as server:
        assert server.client.head("/readyz").status_code == 503
        assert server.client.head("/model").status_code == 401
        assert server.client.head("/nowhere").status_code == 404
        assert server.client.head("/static/nothing.js").status_code == 404
        detector.warm.set()


def test_a_post_route_has_no_head(service: Any) -> None:
    refused = service.client.head("/detect")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", READABLE)
def test_the_allow_header_includes_head(service: Any, path: str) -> None:
    refused = service.client.delete(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_head_is_logged_and_counted_by_its_route(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "act_detr.request")
    with start() as server:
        server.client.head("/docs")
        name, labels = (
            "act_detr_request_duration_seconds_count",
            {"route": "/docs", "attention": "none", "status": "200"},
        )
        server.eventually(lambda: server.metric(name, **labels) == 1)  # counted once the answer is on its way
    (line,) = [vars(record) for record in caplog.records if record.name == "act_detr.request"]
    assert (line["method"], line["route"], line["status"]) == ("HEAD", "/docs", 200)


def test_the_openapi_document_omits_head(service: Any) -> None:
    document = service.client.get("/openapi.json").json()
    assert set(document["paths"]["/livez"]) == {"get"}
