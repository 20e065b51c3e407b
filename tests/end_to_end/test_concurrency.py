"""Concurrent callers get the results of single calls, and the metrics add up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

CALLERS = 64
SIZES = ((120, 90), (90, 120), (200, 60), (64, 64), (301, 97), (33, 150))
QUERIES = (
    "attention=exact",
    "attention=act&L=16&r=8",
    "attention=act&L=4&r=0.5",
    "attention=tangent&C=4",
    "attention=auto",
)


def answer(client: httpx.Client, image: bytes, query: str) -> dict[str, Any]:
    """Return the part that must not depend on other requests."""
    response = client.post(f"/detect?threshold=0&{query}", content=image)
    assert response.status_code == 200, response.text
    body = response.json()
    return {name: body[name] for name in ("detections", "image", "attention", "model")}


def test_64_concurrent_callers_get_the_results_of_single_calls(start: Any, encoded: Callable[..., bytes]) -> None:
    calls = [
        (encoded(size=SIZES[caller % len(SIZES)], seed=caller), QUERIES[caller % len(QUERIES)])
        for caller in range(CALLERS)
    ]
    with start(max_batch=8, max_delay_ms=5) as server:
        alone = [answer(server.client, *call) for call in calls]
        together = call_together(server.client, calls)
        assert together == alone
        server.eventually(server.idle)
        server.eventually(lambda: server.total("act_detr_batch_size_sum") == 2 * CALLERS)
        modes = Counter(row["attention"]["mode"] for row in alone + together)
        labels = Counter(row["label"] for result in alone + together for row in result["detections"])
        assert sum(modes.values()) == 2 * CALLERS
        for mode, count in modes.items():
            assert server.metric("act_detr_images_total", attention=mode) == count
            for stage in ("decode", "preprocess", "queue", "inference", "postprocess"):
                name = "act_detr_stage_duration_seconds_count"
                assert server.metric(name, stage=stage, attention=mode) == count
            duration = "act_detr_request_duration_seconds_count"
            assert server.metric(duration, route="/detect", attention=mode, status="200") == count
        for label, count in labels.items():
            assert server.metric("act_detr_detections_total", label=label) == count
        tokens = sum(result["attention"]["tokens"] for result in alone + together)
        assert server.metric("act_detr_encoder_tokens_sum") == tokens
        assert server.metric("act_detr_clusters_count", attention="act", layer="0") == modes["act"]
        assert server.total("act_detr_rejected_total") == 0


def call_together(client: httpx.Client, calls: list[tuple[bytes, str]]) -> list[dict[str, Any]]:
    """Make all calls at the same time, each over a connection of its own."""
    line = threading.Barrier(len(calls))

    def one(call: tuple[bytes, str]) -> dict[str, Any]:
        line.wait(60)
        return answer(client, *call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))
