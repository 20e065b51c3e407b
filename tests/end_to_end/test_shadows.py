"""Shadows of the embedded model behind a real server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models import load_detector

SAMPLE = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"
QUERIES = ("attention=tangent&C=16", "attention=act&L=16", "attention=exact", "attention=tangent&C=2")


def ask(server: Any, query: str) -> Any:
    answer = server.client.post("/detect?threshold=0.3&" + query, content=SAMPLE.read_bytes()).raise_for_status().json()
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "batch_size")}


def test_answers_are_the_same_with_and_without_shadows_and_fidelity_is_measured(
    run_server: Callable[..., Any],
) -> None:
    with run_server(load_detector(device="cpu")) as plain:
        expected = [ask(plain, query) for query in QUERIES]
    with run_server(load_detector(device="cpu"), shadow_rate=1.0, streams=2) as server:
        with ThreadPoolExecutor(3) as pool:
            for _ in range(2):
                answers = list(pool.map(lambda query: ask(server, query), QUERIES))
                assert answers == expected
                server.eventually(lambda: server.total("act_detr_shadow_images_total") >= 1)
        ask(server, QUERIES[0])
        server.eventually(lambda: server.metric("act_detr_shadow_images_total", attention="tangent") >= 1)
        matched = server.metric("act_detr_shadow_matched_iou_count", attention="tangent")
        missed = server.metric("act_detr_shadow_missed_detections_total", attention="tangent")
        assert matched > missed
        assert server.metric("act_detr_shadow_matched_iou_sum", attention="tangent") > 0.8 * matched
