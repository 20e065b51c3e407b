from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def locked(start: Any) -> Any:
    with start(api_key="old, new") as server:
        yield server


@pytest.mark.parametrize("key", ["old", "new"])
def test_either_key_opens_by_either_header(locked: Any, png: bytes, key: str) -> None:
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        assert locked.client.post("/detect", content=png, headers=headers).status_code == 200
        assert locked.client.get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "ol"},
        {"x-api-key": "old, new"},
        {"x-api-key": b"\xe9\xff"},
        {"authorization": "Basic old"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
    ],
)
def test_other_credentials_are_a_401(locked: Any, png: bytes, headers: dict[str, str]) -> None:
    for path in ("/detect", "/detect/batch", "/detect?L=nonsense"):
        response = locked.client.post(path, content=png, headers=headers)
        assert (response.status_code, response.json()["type"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
    assert locked.client.get("/model", headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics", "/static/page.css"])
def test_health_metrics_and_pages_stay_public(locked: Any, path: str) -> None:
    assert locked.client.get(path).status_code == 200
