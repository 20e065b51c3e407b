"""Shadows behind a server on a socket: what makes them run, and what makes them stop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.attention_config import AttentionConfig

TANGENT = "/detect?attention=tangent&C=16"
COMPARED = "act_detr_shadow_images_total"


def dropped(server: Any, reason: str) -> float:
    value: float = server.metric("act_detr_shadow_dropped_total", attention="tangent", reason=reason)
    return value


def close_after_tangent(detector: Any) -> None:
    """Close the detector's gate after every prediction by tangent attention: its shadow will be held up."""
    predict = detector.predict

    def predict_and_close(images: Any, attention: AttentionConfig, *more: Any) -> Any:
        predictions = predict(images, attention, *more)
        if attention.mode == "tangent":
            detector.gate.clear()
        return predictions

    detector.predict = predict_and_close


@pytest.mark.parametrize("streams", [1, 2])
def test_approximate_images_are_compared_once_the_device_is_idle(start: Any, png: bytes, streams: int) -> None:
    with start(shadow_rate=1.0, streams=streams) as server:
        post = server.client.post
        for path in (TANGENT, "/detect?attention=exact", "/compare?left=exact&right=tangent"):
            assert post(path, content=png).status_code == 200
        assert post("/detect/batch?attention=tangent", files=[("image", png)] * 2).status_code == 200
        server.eventually(lambda: server.total(COMPARED) == 3)
        batches = [attention for _, attention in server.detector.batches]
        assert batches.count(AttentionConfig.exact()) == 2 + 3
        assert server.metric("act_detr_shadow_matched_iou_count", attention="tangent") == 2 * 3
        assert server.metric("act_detr_batch_size_count", attention="exact") == 2
        assert server.metric("act_detr_images_total", attention="exact") == 2
        assert server.metric("act_detr_prediction_ratio_count") <= 6


def test_what_auto_chose_is_compared_too(start: Any, encoded: Any) -> None:
    with start(shadow_rate=1.0) as server:
        answer = server.client.post("/detect", content=encoded(size=(64, 64))).json()
        assert answer["attention"]["mode"] == "tangent"
        server.eventually(lambda: server.total(COMPARED) == 1)


def test_a_request_that_comes_takes_the_place_of_a_shadow(start: Any, detector: Any, png: bytes) -> None:
    close_after_tangent(detector)
    with start(shadow_rate=1.0, streams=1) as server, ThreadPoolExecutor(1) as pool:
        assert server.client.post(TANGENT, content=png).status_code == 200
        server.eventually(lambda: detector.held == 1)
        answering = pool.submit(server.client.post, "/detect?attention=exact", content=png)
        server.eventually(lambda: dropped(server, "gave-way") == 1)
        server.eventually(lambda: detector.entered == 2)
        detector.gate.set()
        assert answering.result().status_code == 200
        assert server.total(COMPARED) == 0
        server.eventually(server.idle)


def test_a_drain_waits_for_no_shadow(start: Any, detector: Any, png: bytes) -> None:
    close_after_tangent(detector)
    with start(shadow_rate=1.0, streams=1) as server:
        for _ in range(2):
            detector.gate.set()
            assert server.client.post(TANGENT, content=png).status_code == 200
            server.eventually(lambda: detector.held > 0)
    assert not detector.gate.is_set()
    assert dropped(server, "gave-way") >= 1
    assert dropped(server, "gave-way") + dropped(server, "draining") + server.total(COMPARED) == 2


def test_a_device_that_fails_in_a_shadow_has_failed(start: Any, detector: Any, png: bytes) -> None:
    with start(shadow_rate=1.0) as server:
        predict = detector.predict

        def fail(images: Any, attention: AttentionConfig, *more: Any) -> Any:
            if attention.mode != "exact":
                return predict(images, attention, *more)
            detector.dead = True
            raise RuntimeError("the device is gone")

        detector.predict = fail
        assert server.client.post(TANGENT, content=png).status_code == 200
        server.eventually(lambda: server.client.get("/livez").status_code == 503)
        assert server.client.post("/detect", content=png).json()["type"] == "device-failed"


def test_without_a_rate_there_is_nothing_of_it(service: Any, png: bytes) -> None:
    assert service.client.post(TANGENT, content=png).status_code == 200
    assert "act_detr_shadow_images_total{" not in service.client.get("/metrics").text
    assert service.service.pipeline._on_answer is None
    assert service.service.pipeline._worker._spare is None
