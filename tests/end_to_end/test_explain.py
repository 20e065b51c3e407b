"""The embedded model explains its sample page, over a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models import load_detector

PAGE = (Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg").read_bytes()


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu")) as running:
        yield running


def explain(server: Any, query: str) -> dict[str, Any]:
    response = server.client.post(f"/explain?{query}", content=PAGE)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("attention", ["act", "act&L=16&r=2&metric=key", "tangent&C=16", "auto"])
def test_clusters_are_those_that_detect_reports(server: Any, attention: str) -> None:
    reported = server.client.post(f"/detect?attention={attention}", content=PAGE).json()
    first = explain(server, f"attention={attention}")
    assert first["attention"] == {name: reported["attention"][name] for name in first["attention"]}
    assert (first["image"], first["resized"]) == (reported["image"], reported["resized"])
    assert first["grid"]["rows"] * first["grid"]["columns"] == reported["attention"]["tokens"]
    for row in reported["attention"]["clusters"][:: first["layers"] - 1]:
        counts = []
        for head in range(first["heads"]):
            clusters = explain(server, f"attention={attention}&layer={row['layer']}&head={head}")["clusters"]
            assert len(clusters["assignment"]) == reported["attention"]["tokens"]
            assert clusters["count"] == len(set(clusters["assignment"]))
            counts.append(clusters["count"])
        mean = round(sum(counts) / len(counts), 2)
        assert (min(counts), max(counts), mean) == (row["min"], row["max"], row["mean"])


def test_a_point_is_explained_the_same_every_time_and_pictures_show_the_page(server: Any) -> None:
    query = "attention=tangent&C=8&layer=2&head=1&x=500&y=560"
    first, again = (explain(server, query) for _ in range(2))
    assert first.pop("timing_ms").keys() == again.pop("timing_ms").keys()
    assert first == again
    weights = first["attention_map"]
    assert 0 < weights["difference"] < 0.5
    assert sum(weights["exact"]) == pytest.approx(1, abs=1e-4) == sum(weights["approximate"])
    pictures = {}
    for view in ("clusters", "exact", "approximate"):
        response = server.client.post(f"/explain?{query}&view={view}", content=PAGE, headers={"accept": "image/png"})
        assert Image.open(BytesIO(response.content)).size == (791, 1024)
        assert response.headers["x-act-detr-clusters"] == "8"
        pictures[view] = response.content
    assert len(set(pictures.values())) == 3
