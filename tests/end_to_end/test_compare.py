"""Comparisons by the embedded model behind a real server, on its sample page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models import load_detector

SAMPLE = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu")) as running:
        yield running


def asked(server: Any, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.client.post(path, content=SAMPLE.read_bytes()).raise_for_status().json()
    return answer


def test_sides_are_what_detect_answers_whatever_else_runs(server: Any) -> None:
    alone = [asked(server, f"/detect?attention={query}") for query in ("exact", "tangent&C=8&size=320")]
    with ThreadPoolExecutor(3) as pool:
        query = "/compare?left=exact&right=tangent:C=8&right_size=320"
        answers = list(pool.map(lambda _: asked(server, query), range(3)))
    for answer in answers:
        for side, expected in zip(("left", "right"), alone, strict=True):
            assert answer[side]["detections"] == expected["detections"]
            assert answer[side]["attention"] == expected["attention"]
            assert answer[side]["resized"] == expected["resized"]


def test_tangent_attention_finds_about_what_exact_attention_finds(server: Any) -> None:
    answer = asked(server, "/compare?left=exact&right=tangent&C=16&threshold=0.3")
    left, right = (answer[side]["detections"] for side in ("left", "right"))
    assert answer["left"]["attention"]["encoder_gflops"] > answer["right"]["attention"]["encoder_gflops"]
    assert len(answer["pairs"]) >= 0.75 * len(left)
    assert len(answer["pairs"]) + len(answer["only_left"]) == len(left)
    assert len(answer["pairs"]) + len(answer["only_right"]) == len(right)
    for pair in answer["pairs"]:
        one, other = left[pair["left"]], right[pair["right"]]
        assert one["label"] == other["label"]
        assert pair["iou"] >= 0.5
        assert pair["score_difference"] == pytest.approx(other["score"] - one["score"], abs=2e-4)


def test_equal_sides_agree_wholly(server: Any) -> None:
    answer = asked(server, "/compare?left=act&right=act&threshold=0.3")
    count = len(answer["left"]["detections"])
    assert [(pair["left"], pair["right"]) for pair in answer["pairs"]] == [(row, row) for row in range(count)]
    assert {pair["iou"] for pair in answer["pairs"]} == {1.0}
    assert answer["left"]["detections"] == answer["right"]["detections"]
