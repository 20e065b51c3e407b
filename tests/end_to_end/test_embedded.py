"""The embedded model behind a real server, on its sample page and on a rendered one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import box_iou

from models import load_detector
from models.attention.auto import MARGIN
from models.data.pages import render_page

SAMPLE = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu")) as running:
        yield running


@pytest.mark.parametrize("attention", ["exact", "act", "tangent", "merge"])
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
    vouched = [one["setting"] for one in card["auto_attention"]["vouched"]]
    said = r"auto: (\S+) was measured to take \d+\.\d\d of exact attention's time in the encoder at 638 tokens"
    found = re.fullmatch(said, attention["reason"])
    assert found is not None
    assert found[1] in vouched
    assert attention["mode"] in ("exact", found[1].partition(":")[0])
    assert card["default_attention"]["mode"] == "auto"
    options = ("L", "r", "C", "ratio", "metric")
    chosen = {name: attention[name] for name in options if attention[name] is not None}
    asked = server.client.post("/detect", params={"attention": attention["mode"]} | chosen, content=page).json()
    assert asked["detections"] == first["detections"]
    assert asked["attention"] == attention | {"reason": "asked for"}
    for row in card["auto_attention"]["times"]:
        times = row["milliseconds"]
        assert set(times) == {"exact", *vouched}
        cheapest = min(vouched, key=times.__getitem__)
        assert row["chosen"] == (cheapest if times[cheapest] <= (1 - MARGIN) * times["exact"] else "exact")


def test_merging_is_counted_and_what_is_left_may_be_clustered(server: Any) -> None:
    page = SAMPLE.read_bytes()
    before = server.metric("act_detr_merged_tokens_sum")
    half = server.client.post("/detect?attention=merge&ratio=0.5", content=page).json()["attention"]
    assert (half["ratio"], half["C"], half["tokens"], half["merged_tokens"]) == (0.5, None, 638, 319)
    assert half["clusters"] == []
    assert half["encoder_gflops"] < half["exact_encoder_gflops"] / 2
    assert server.metric("act_detr_merged_tokens_sum") == before + 319
    clustered = server.client.post("/detect?attention=merge&ratio=0.25&C=8", content=page).json()["attention"]
    assert (clustered["C"], clustered["merged_tokens"]) == (8, 638 - 160)
    assert all(layer["max"] <= 8 for layer in clustered["clusters"])
    assert len(clustered["clusters"]) == 6
    assert server.metric("act_detr_clusters_count", attention="merge", layer="0") == 1


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


def test_tiles_of_a_tall_page_give_about_what_its_pages_give(server: Any) -> None:
    """Three pages one under another: cut into tiles that see parts of two pages each, and as a whole."""
    pages = [np.asarray(render_page(seed, 792, 612, "journals").image) for seed in range(3)]
    expected = []
    for i, page in enumerate(pages):
        for label, (xmin, ymin, xmax, ymax) in found(server, page, "")[0]:
            expected.append((label, (xmin, ymin + 792 * i, xmax, ymax + 792 * i)))
    tiled, answer = found(server, np.concatenate(pages), "&tiles=auto")
    assert answer["tiles"] == {"rows": 3, "columns": 1}
    assert answer["image"] == {"width": 612, "height": 3 * 792}
    assert min(answer["resized"].values()) == 352
    whole, answer = found(server, np.concatenate(pages), "")
    assert answer["tiles"] == {"rows": 1, "columns": 1}
    assert share_found(expected, tiled) > 0.8 > 0.6 > share_found(expected, whole)
    assert share_found(tiled, expected) > 0.6


def test_tiles_are_answered_the_same_whatever_else_is_in_flight(server: Any) -> None:
    image = png_of(np.concatenate([np.asarray(render_page(seed, 300, 200, "journals").image) for seed in range(3)]))

    def ask(query: str) -> Any:
        answer = server.client.post("/detect?attention=tangent&threshold=0.1&" + query, content=image).json()
        return {name: value for name, value in answer.items() if name not in ("timing_ms", "batch_size")}

    queries = ["tiles=3x1&size=304", "tiles=2x2", "size=416", "tiles=auto&size=320"]
    alone = [ask(query) for query in queries]
    assert [min(alone[i]["resized"].values()) for i in (0, 3)] == [304, 320]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, queries * 3)) == alone * 3


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def found(server: Any, pixels: NDArray[np.uint8], query: str) -> tuple[list[tuple[str, tuple[float, ...]]], Any]:
    answer = server.client.post("/detect?attention=exact" + query, content=png_of(pixels)).json()
    return [(row["label"], tuple(row["box"].values())) for row in answer["detections"]], answer


def share_found(wanted: Sequence[tuple[str, tuple[float, ...]]], got: Sequence[tuple[str, tuple[float, ...]]]) -> float:
    """Share of the wanted boxes that a box of their class overlaps with an IoU of more than 0.5."""
    ious = box_iou(*(torch.tensor([box for _, box in rows]) for rows in (wanted, got)))
    same = torch.tensor([[label == other for other, _ in got] for label, _ in wanted])
    return float((ious * same > 0.5).any(1).float().mean())
