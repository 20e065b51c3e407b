from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/vision/model", "/model"])
def test_a_proxy_may_strip_the_prefix_or_leave_it(start: Any, path: str) -> None:
    with start(root_path="/vision") as server:
        assert server.client.get(path).status_code == 200
        count = server.metric("act_detr_request_duration_seconds_count", route="/model", attention="none", status="200")
        assert count == 1


def test_detection_works_under_the_prefix(start: Any, png: bytes) -> None:
    with start(root_path="/a/b") as server:
        assert server.client.post("/a/b/detect?attention=act", content=png).status_code == 200
        assert server.client.post("/detect", content=png).status_code == 200
        assert server.client.post("/a/detect", content=png).status_code == 404
        assert server.client.post("/a/bdetect", content=png).status_code == 404


@pytest.mark.parametrize("path", ["/vision", "/vision/", "/", "/vision/docs", "/docs"])
def test_pages_have_the_prefix_as_their_base(start: Any, path: str) -> None:
    with start(root_path="/vision/") as server:
        page = server.client.get(path)
        assert page.status_code == 200
        assert '<base href="/vision/">' in page.text


def test_without_a_prefix_addresses_are_relative_to_the_page(service: Any) -> None:
    assert "<base" not in service.client.get("/").text


def test_the_openapi_document_names_the_prefix(start: Any, service: Any) -> None:
    with start(root_path="/vision") as server:
        assert server.client.get("/openapi.json").json()["servers"] == [{"url": "/vision"}]
        assert server.client.get("/vision/openapi.json").json()["servers"] == [{"url": "/vision"}]
    assert "servers" not in service.client.get("/openapi.json").json()
