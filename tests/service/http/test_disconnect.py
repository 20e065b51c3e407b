from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def request(png: bytes, path: str = "/detect") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(png)}\r\n\r\n".encode() + png


def test_a_client_that_leaves_the_queue_costs_no_device_time(start: Any, detector: Any, png: bytes) -> None:
    with start(max_batch=1) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        running = pool.submit(server.client.post, "/detect?attention=exact", content=png)
        server.eventually(lambda: detector.entered == 1)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request(png, "/detect?attention=act"))
            server.eventually(lambda: server.metric("act_detr_queue_depth") == 1)
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 0)
        detector.gate.set()
        assert running.result().status_code == 200
        server.eventually(server.idle)
        assert [attention.mode for _, attention in detector.batches] == ["exact"]
        assert server.metric("act_detr_cancelled_total") == 1


def test_a_client_that_leaves_while_sending_is_counted_and_dropped(start: Any, detector: Any, png: bytes) -> None:
    with start() as server:
        server.raw(request(png)[:-10], finish=False)
        server.eventually(lambda: server.metric("act_detr_cancelled_total") == 1)
        server.eventually(server.idle)
        assert detector.entered == 0


def test_pipelined_requests_are_answered_in_order(service: Any, png: bytes) -> None:
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = service.raw(request(png) + last)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"detections") < answer.index(b'"status"')
