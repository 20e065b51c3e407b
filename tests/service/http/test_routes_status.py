from __future__ import annotations

import re
from typing import Any

import pytest

from models.named_models import pages_small


def test_probes_follow_the_warm_up(start: Any, detector: Any, png: bytes) -> None:
    detector.warm.clear()
    with start(warm=False) as server:
        assert server.client.get("/livez").json() == {"status": "ok"}
        waiting = server.client.get("/readyz")
        assert (waiting.status_code, waiting.json()["type"]) == (503, "not-ready")
        refused = server.client.post("/detect", content=png)
        assert (refused.status_code, refused.json()["type"]) == (503, "not-ready")
        assert server.metric("act_detr_ready") == 0
        detector.warm.set()
        server.eventually(lambda: server.client.get("/readyz").status_code == 200)
        assert server.client.post("/detect", content=png).status_code == 200
        assert server.metric("act_detr_ready") == 1


def test_a_failed_warm_up_fails_both_probes(start: Any, detector: Any) -> None:
    detector.warm_up = lambda: 1 / 0
    with start(warm=False) as server:
        server.eventually(lambda: server.client.get("/livez").status_code == 503)
        assert server.client.get("/readyz").json()["type"] == "device-failed"


def test_draining_is_not_ready_but_alive(start: Any, png: bytes) -> None:
    with start() as server:
        server.service.readiness.drain()
        assert server.client.get("/readyz").json()["type"] == "draining"
        assert server.client.post("/detect", content=png).json()["type"] == "draining"
        assert server.client.get("/livez").status_code == 200


def test_model_card(service: Any) -> None:
    card = service.client.get("/model").json()
    assert card["labels"] == ["text", "title", "list", "table", "figure"]
    assert card["default_attention"] == {"mode": "auto", "L": 32, "r": 8.0, "metric": "query", "C": 16, "ratio": 0.25}
    assert card["input_size"] == {"shortest_side": 352, "longest_side": 640, "min_size": 304, "max_size": 416}
    assert card["limits"]["max_pixels"] == 50_000_000
    assert (card["name"], card["device"], card["precision"], card["parameters"]) == ("fake", "cpu", "fp32", 7)
    assert card["default_nms"] == 0.7
    assert card["box_refinement"] is True
    assert card["explain"] is True


def test_settings_override_the_models_defaults(start: Any) -> None:
    with start(nms=1.0, l=9, c=5, ratio=0.25, max_size=400, max_tiles=5) as server:
        card = server.client.get("/model").json()
    assert (card["input_size"]["max_size"], card["limits"]["max_tiles"]) == (400, 5)
    assert card["default_nms"] == 1.0
    expected = {"mode": "auto", "L": 9, "r": 8.0, "metric": "query", "C": 5, "ratio": 0.25}
    assert card["default_attention"] == expected


def test_model_card_has_what_auto_chooses_by_once_it_is_measured(start: Any, detector: Any) -> None:
    detector.warm.clear()
    with start(warm=False) as server:
        assert server.client.get("/model").json()["auto_attention"] is None
        detector.warm.set()
        server.eventually(lambda: server.client.get("/readyz").status_code == 200)
        auto = server.client.get("/model").json()["auto_attention"]
    assert auto == {
        "vouched": [{"setting": one.setting, "ap_lost": one.ap_lost} for one in pages_small().vouched],
        "times": [
            {"tokens": 1000, "milliseconds": {"exact": 1.0, "tangent:C=16": 2.0}, "chosen": "exact"},
            {"tokens": 4000, "milliseconds": {"exact": 16.0, "tangent:C=16": 8.0}, "chosen": "tangent:C=16"},
        ],
    }


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(service: Any, path: str) -> None:
    page = service.client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    scripts = ""
    while links:
        link = links.pop()
        assert not link.startswith(("/", "http")), link
        answer = service.client.get("/" + link)
        assert answer.status_code == 200
        if link.endswith((".js", ".css")):
            scripts += answer.text
            links += [f"static/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
    assert "://" not in scripts.replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"""fetch\(["'`]/""", scripts)
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_static_files_are_a_closed_list(service: Any) -> None:
    for name in ("nothing.js", "..%2fapp.py", "index.html"):
        assert service.client.get("/static/" + name).status_code == 404


def test_unknown_addresses_and_methods_are_problems(service: Any) -> None:
    missing, wrong = service.client.get("/nowhere"), service.client.delete("/detect")
    assert (missing.status_code, missing.json()["type"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["type"], wrong.headers["allow"]) == (405, "method-not-allowed", "POST")
    assert missing.headers["content-type"] == wrong.headers["content-type"] == "application/problem+json"
