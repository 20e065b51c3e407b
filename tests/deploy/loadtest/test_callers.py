"""Callers that keep their connections, against a server that answers in the service's form."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.loadtest.callers import keep_calling
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix

MIX = Mix((b"first", b"second"), ("attention=exact",))


class Handler(BaseHTTPRequestHandler):
    """Says that its two stages took 5 ms."""

    protocol_version = "HTTP/1.1"
    status = 200
    peers: set[tuple[str, int]]
    bodies: set[bytes]

    def do_POST(self) -> None:
        self.peers.add(self.client_address)
        self.bodies.add(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(self.status)
        self.send_header("server-timing", "decode;dur=1.500, inference;dur=3.500, total;dur=9.000")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(status: int) -> Iterator[tuple[Target, type[Handler]]]:
    handler = type("Served", (Handler,), {"status": status, "peers": set(), "bodies": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Target("127.0.0.1", server.server_port), handler
        finally:
            server.shutdown()
            thread.join()


def test_each_caller_keeps_its_connection_and_every_answer_counts() -> None:
    with served(200) as (target, handler):
        answers, took = keep_calling(target, MIX, callers=3, seconds=0.3)
    assert len(handler.peers) == 3
    assert len(answers) > 3
    assert handler.bodies == set(MIX.images)
    assert took >= 0.3
    assert all(0 < answer.seconds <= took for answer in answers)
    assert [answer.stages for answer in answers] == pytest.approx([0.005] * len(answers))


def test_without_time_each_caller_calls_once() -> None:
    with served(200) as (target, _):
        answers, _ = keep_calling(target, MIX, callers=2, seconds=0.0)
    assert len(answers) == 2


def test_a_refusal_ends_the_measurement() -> None:
    with served(429) as (target, _), pytest.raises(RuntimeError, match="429"):
        keep_calling(target, MIX, callers=2, seconds=0.1)
