from __future__ import annotations

import json
import socket
import time
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
def test_invalid_http_is_answered_with_a_problem(service: Any, data: bytes) -> None:
    head, _, body = service.raw(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "malformed-request"


@pytest.mark.parametrize("data", [b"", b"POST /detect HT"])
def test_a_connection_whose_headers_never_end_is_closed(start: Any, data: bytes) -> None:
    with start(header_timeout_s=0.2) as server:
        server.raw(data)  # returns because the server closes
        assert server.client.get("/livez").status_code == 200


GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def impatient(server: Any) -> socket.socket:
    """Connect, for less time than the keep-alive timeout takes."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=4)


@pytest.mark.parametrize("together", [False, True])
def test_second_headers_that_never_end_close_the_connection(start: Any, together: bool) -> None:
    with start(header_timeout_s=0.2) as server, impatient(server) as connection:
        if together:
            connection.sendall(GET + b"GET /li")
        else:
            ask(connection)
            connection.sendall(b"GET /li")
        while connection.recv(65536):
            pass


def ask(connection: socket.socket) -> None:
    """Send a request over a connection that goes on, and take all of its answer."""
    connection.sendall(GET)
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_idle_connection_is_kept_for_the_next_request(start: Any) -> None:
    with start(header_timeout_s=0.2) as server, impatient(server) as connection:
        for _ in range(2):
            ask(connection)
            time.sleep(0.5)  # longer than a head may take
        (resting,) = [other for other in server.server.server_state.connections if other.timeout_keep_alive_task]
        assert resting.timeout_keep_alive_task.when() - resting.loop.time() > 60  # a minute is what proxies keep theirs


def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(start: Any) -> None:
    with start(keepalive_timeout_s=0.2) as server, impatient(server) as connection:
        ask(connection)
        assert connection.recv(65536) == b""  # closed by the server


def test_the_longest_idle_connection_is_closed_for_a_new_one(start: Any) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with start(max_connections=2) as server, impatient(server) as oldest, impatient(server) as newer:
        for connection in (oldest, newer):
            ask(connection)
        assert server.raw(head).startswith(b"HTTP/1.1 200")
        assert oldest.recv(65536) == b""
        ask(newer)


def test_busy_connections_are_never_closed_for_new_ones(start: Any, detector: Any, png: bytes) -> None:
    with start(max_connections=1) as server, impatient(server) as connection:
        detector.gate.clear()
        post = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(png)}\r\n\r\n".encode()
        ask(connection)
        connection.sendall(post + png)
        server.eventually(lambda: detector.entered == 1)
        assert server.raw(GET) == b""
        detector.gate.set()
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_broken_chunks_never_reach_the_detector(start: Any, detector: Any) -> None:
    with start() as server:
        head = b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert server.raw(head + b"5\r\nhello\r\nZZ\r\n").startswith(b"HTTP/1.1 400")
        server.eventually(server.idle)
        assert detector.entered == 0


def test_a_response_that_is_never_received_is_aborted(start: Any) -> None:
    with start(answer_timeout_s=0.3) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)  # many times what sockets buffer
        server.eventually(lambda: len(server.server.server_state.connections) == 1)
        server.eventually(lambda: len(server.server.server_state.connections) == 0)


def test_a_response_that_is_received_slowly_is_complete(start: Any) -> None:
    with start(answer_timeout_s=20) as server, impatient(server) as connection:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request * 200 + last)
        answer = bytearray()
        while chunk := connection.recv(20_000):
            answer += chunk
        assert answer.count(b"HTTP/1.1 200") == 201
        assert len(answer) > 200 * len(server.client.get("/openapi.json").content)


def test_connections_beyond_the_maximum_are_closed(start: Any) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with start(max_connections=2) as server, impatient(server), impatient(server) as second:
        server.eventually(lambda: len(server.server.server_state.connections) == 2)
        assert server.raw(head) == b""
        second.close()
        server.eventually(lambda: server.raw(head).startswith(b"HTTP/1.1 200"))
