"""The embedded model behind a real server, on its sample page and on a rendered one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.ops import box_iou

from models import load_detector
from models.attention.auto import MARGIN
from models.data.pages import render_page

SAMPLE = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu")) as running:
        yield running


@pytest.mark.parametrize("attention", ["exact", "act", "tangent"])
def test_a_page_has_boxes_within_the_image(server: Any, attention: str) -> None:
    page = SAMPLE.read_bytes()
    result = server.client.post(f"/detect?threshold=0.3&attention={attention}", content=page).json()
    assert result["detections"]
    width, height = result["image"]["width"], result["image"]["height"]
    for row in result["detections"]:
        box = row["box"]
        assert 0 <= box["xmin"] < box["xmax"] <= width
        assert 0 <= box["ymin"] < box["ymax"] <= height


def test_auto_answers_as_what_it_chose_and_says_why(server: Any) -> None:
    """What it chooses depends on the machine; that it is vouched for, and chosen the same way again, does not."""
    page = SAMPLE.read_bytes()
    first, again = (server.client.post("/detect", content=page).json() for _ in range(2))
    attention = first["attention"]
    assert again["attention"] == attention
    card = server.client.get("/model").json()
    assert (card["default_attention"]["mode"], attention["mode"] in ("exact", "tangent")) == ("auto", True)
    said = r"auto: tangent:C=16 was measured to take \d+\.\d\d of exact attention's time at 638 tokens"
    assert re.fullmatch(said, attention["reason"])
    asked = server.client.post(f"/detect?attention={attention['mode']}", content=page).json()
    assert asked["detections"] == first["detections"]
    assert asked["attention"] == attention | {"reason": "asked for"}
    (vouched,) = card["auto_attention"]["vouched"]
    for row in card["auto_attention"]["times"]:
        assert set(row["milliseconds"]) == {"exact", vouched["setting"]}
        pays = row["milliseconds"][vouched["setting"]] <= (1 - MARGIN) * row["milliseconds"]["exact"]
        assert row["chosen"] == (vouched["setting"] if pays else "exact")


def test_the_next_start_chooses_by_the_times_that_were_kept(run_server: Callable[..., Any], tmp_path: Path) -> None:
    with run_server(load_detector(device="cpu"), cache_dir=tmp_path) as first:
        times = first.client.get("/model").json()["auto_attention"]["times"]
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    with run_server(load_detector(device="cpu"), cache_dir=tmp_path) as second:
        assert second.client.get("/model").json()["auto_attention"]["times"] == times
    assert file.stat().st_mtime_ns == written


def test_nms_leaves_no_two_boxes_of_a_class_that_overlap_more(server: Any) -> None:
    page = BytesIO()
    render_page(9, 660, 500).image.save(page, "JPEG")

    def detections(query: str) -> list[dict[str, Any]]:
        answer = server.client.post(f"/detect?threshold=0&{query}", content=page.getvalue())
        return list(answer.raise_for_status().json()["detections"])

    everything, kept = detections("nms=1"), detections("nms=0.5")
    assert detections("") == detections(f"nms={server.detector.config.nms}") != everything
    assert 0 < len(kept) < len(everything)
    assert [row for row in everything if row in kept] == kept
    for label in {row["label"] for row in kept}:
        corners = [list(row["box"].values()) for row in kept if row["label"] == label]
        boxes = torch.tensor(corners, dtype=torch.float64)
        assert box_iou(boxes, boxes).triu(1).max() < 0.5 + 1e-3  # the answer's corners are rounded
