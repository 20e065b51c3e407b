from __future__ import annotations

import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest


def test_the_first_signal_drains(start: Any, detector: Any, png: bytes) -> None:
    with start(max_batch=1) as server, ThreadPoolExecutor(4) as pool:
        detector.gate.clear()
        accepted = [pool.submit(server.client.post, "/detect", content=png) for _ in range(4)]
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 3)
        server.server.handle_exit(signal.SIGTERM, None)
        refused = server.client.post("/detect", content=png)
        assert (refused.status_code, refused.json()["type"]) == (503, "draining")
        assert refused.headers["connection"] == "close"  # a proxy's connection would be cut later, under a request
        assert server.client.get("/readyz").status_code == 503
        detector.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200] * 4
        server.eventually(lambda: cannot_connect(server.port))


def test_a_drain_ends_after_its_timeout(start: Any, detector: Any, png: bytes) -> None:
    with start(drain_seconds=0.2) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        stuck = pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        server.server.handle_exit(signal.SIGTERM, None)
        server.eventually(lambda: cannot_connect(server.port))
        detector.gate.set()
        assert stuck.result().status_code == 200  # it began before the end, and so it is sent


def test_an_idle_server_stops_at_once(start: Any) -> None:
    with start() as server:
        server.server.handle_exit(signal.SIGINT, None)
        server.eventually(lambda: cannot_connect(server.port))


def cannot_connect(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_the_address_is_logged_in_one_line(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.server")
    with start() as server:
        lines = [record.getMessage() for record in caplog.records if record.name == "service.server"]
        assert lines == [f"listening on http://127.0.0.1:{server.port}"]
