from __future__ import annotations

import json
import socket
from typing import Any

import pytest


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /" + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told_so_as_a_problem(service: Any, data: bytes) -> None:
    head, _, body = service.raw(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "malformed-request"


@pytest.mark.parametrize("data", [b"", b"POST /detect HT"])
def test_a_head_that_never_ends_is_hung_up_on(start: Any, data: bytes) -> None:
    with start(header_timeout_s=0.2) as server:
        server.raw(data)  # returns because the server closes
        assert server.client.get("/livez").status_code == 200


def impatient(server: Any) -> socket.socket:
    """Connect, for less time than the keep-alive timeout takes."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=4)


def test_a_second_head_that_never_ends_is_hung_up_on(start: Any) -> None:
    with start(header_timeout_s=0.2) as server, impatient(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /li")
        while connection.recv(65536):
            pass


def test_broken_chunks_never_reach_the_detector(start: Any, detector: Any) -> None:
    with start() as server:
        head = b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert server.raw(head + b"5\r\nhello\r\nZZ\r\n").startswith(b"HTTP/1.1 400")
        server.eventually(server.idle)
        assert detector.entered == 0
