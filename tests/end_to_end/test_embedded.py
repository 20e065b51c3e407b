"""The embedded model behind a real server, on its sample page and on rendered pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torchvision.ops import box_iou

from models import load_detector
from models.data.pages import render_page

CALLERS = 64
SAMPLE = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"
QUERIES = (
    "attention=exact",
    "attention=act&L=16&r=8",
    "attention=act",
    "attention=auto",
    "attention=tangent&C=16",
    "attention=tangent",
)


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [SAMPLE.read_bytes(), *(rendered(seed) for seed in range(11))]


def rendered(seed: int) -> bytes:
    buffer = BytesIO()
    render_page(seed, 300 + 40 * seed, 500).image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu"), max_batch=4, deadline_ms=600_000) as running:
        yield running


def answer(client: httpx.Client, image: bytes, query: str) -> dict[str, Any]:
    """Return the part of the answer that depends only on the image and the query."""
    response = client.post(f"/detect?threshold=0&{query}", content=image, timeout=600)
    assert response.status_code == 200, response.text
    return {name: value for name, value in response.json().items() if name not in ("timing_ms", "batch_size")}


def test_a_page_has_boxes_within_the_image(server: Any, images: list[bytes]) -> None:
    for query in ("attention=exact", "attention=act"):
        result = server.client.post(f"/detect?threshold=0.3&{query}", content=images[0]).json()
        assert result["detections"]
        width, height = result["image"]["width"], result["image"]["height"]
        for row in result["detections"]:
            box = row["box"]
            assert 0 <= box["xmin"] < box["xmax"] <= width
            assert 0 <= box["ymin"] < box["ymax"] <= height


def test_nms_leaves_no_two_boxes_of_a_class_that_overlap_more(server: Any) -> None:
    page = rendered(9)

    def detections(query: str) -> list[dict[str, Any]]:
        answer = server.client.post(f"/detect?threshold=0&{query}", content=page)
        return list(answer.raise_for_status().json()["detections"])

    everything, kept = detections("nms=1"), detections("nms=0.5")
    assert detections("") == detections(f"nms={server.detector.config.nms}") != everything
    assert 0 < len(kept) < len(everything)
    assert [row for row in everything if row in kept] == kept
    for label in {row["label"] for row in kept}:
        corners = [list(row["box"].values()) for row in kept if row["label"] == label]
        boxes = torch.tensor(corners, dtype=torch.float64)
        assert box_iou(boxes, boxes).triu(1).max() < 0.5 + 1e-3  # the answer's corners are rounded
