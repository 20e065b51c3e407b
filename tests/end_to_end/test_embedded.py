"""The embedded model behind a real server, on photographs and pages where they are, on rendered pages elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torchvision.ops import box_iou

from models import load_detector
from models.data.pages import render_page

CALLERS = 64
DATA = Path(__file__).parents[3] / "shared" / "data"
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
    files = sorted(DATA.glob("pages/*.jpg")) + sorted(DATA.glob("photos/*.jpg"))[:10]
    return [file.read_bytes() for file in files] or [rendered(seed) for seed in range(12)]


def rendered(seed: int) -> bytes:
    buffer = BytesIO()
    render_page(seed, 300 + 40 * seed, 500).image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu"), max_batch=4, deadline_ms=600_000) as running:
        yield running


def answer(client: httpx.Client, image: bytes, query: str) -> dict[str, Any]:
    """Return what must depend on the image and the query alone."""
    response = client.post(f"/detect?threshold=0&{query}", content=image, timeout=600)
    assert response.status_code == 200, response.text
    return {name: value for name, value in response.json().items() if name not in ("timing_ms", "batch_size")}


@pytest.mark.slow
def test_64_callers_get_what_each_gets_alone_and_the_metrics_add_up(server: Any, images: list[bytes]) -> None:
    calls = list(islice(zip(cycle(images), cycle(QUERIES), strict=False), CALLERS))
    with ThreadPoolExecutor(CALLERS) as pool:
        together = list(pool.map(lambda call: answer(server.client, *call), calls))
    alone = {call: answer(server.client, *call) for call in set(calls)}
    assert together == [alone[call] for call in calls]
    server.eventually(server.idle)
    answered = CALLERS + len(alone)
    assert server.total("act_detr_images_total") == answered
    assert server.total("act_detr_batch_size_sum") == answered
    assert server.total("act_detr_rejected_total") == 0


def test_a_page_has_sensible_boxes_with_exact_attention_and_act(server: Any, images: list[bytes]) -> None:
    for query in ("attention=exact", "attention=act"):
        found = server.client.post(f"/detect?threshold=0.3&{query}", content=images[0]).json()
        assert found["detections"]
        width, height = found["image"]["width"], found["image"]["height"]
        for row in found["detections"]:
            box = row["box"]
            assert 0 <= box["xmin"] < box["xmax"] <= width
            assert 0 <= box["ymin"] < box["ymax"] <= height


def test_nms_leaves_no_two_of_a_class_that_overlap_more(server: Any) -> None:
    page = rendered(9)

    def found(query: str) -> list[dict[str, Any]]:
        answer = server.client.post(f"/detect?threshold=0&{query}", content=page)
        return list(answer.raise_for_status().json()["detections"])

    everything, kept = found("nms=1"), found("nms=0.5")
    assert found("") == found(f"nms={server.detector.config.nms}") != everything
    assert 0 < len(kept) < len(everything)
    assert [row for row in everything if row in kept] == kept
    for label in {row["label"] for row in kept}:
        corners = [list(row["box"].values()) for row in kept if row["label"] == label]
        boxes = torch.tensor(corners, dtype=torch.float64)
        assert box_iou(boxes, boxes).triu(1).max() < 0.5 + 1e-3  # the answer's corners are rounded
