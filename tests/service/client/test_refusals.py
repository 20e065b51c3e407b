"""Both clients against servers that refuse, break off, or are something else."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.client import AsyncClient, Client, NoAnswer, RetryPolicy, ServiceError
from service.errors import Draining, QueueFull
from service.http.schemas import RESULT_EXAMPLE

RESULT = (200, {"content-type": "application/json"}, json.dumps(RESULT_EXAMPLE).encode())


def problem(error: ServiceError) -> tuple[int, dict[str, str], bytes]:
    headers = {"content-type": "application/problem+json", **error.headers}
    return error.status, headers, json.dumps(error.problem()).encode()


FULL = problem(QueueFull(1, "3 requests wait."))
FULL_NOW = (429, {**FULL[1], "Retry-After": "0"}, FULL[2])


class Script:
    """Replies in turn, the last one again and again; keeps what arrived and when."""

    def __init__(self, *replies: tuple[int, dict[str, str], bytes]) -> None:
        self.replies = list(replies)
        self.ids: list[str] = []
        self.bodies: list[bytes] = []
        self.times: list[float] = []

    async def __call__(self, scope: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.times.append(time.monotonic())
        self.ids.append(dict(scope["headers"])[b"x-request-id"].decode())
        self.bodies.append(body)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def test_refusals_for_now_are_tried_again_with_the_same_id_and_body(
    connect: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    script = Script(FULL_NOW, problem(Draining()), (502, {"content-type": "text/html"}, b"<html>"), RESULT)
    with scripted(script) as url:
        assert connect(url).detect(b"image").model == "pages-small"
    assert len(set(script.ids)) == 1
    assert script.bodies == [b"image"] * 4


def test_retry_after_is_waited_out(connect: Callable[..., Any], scripted: Callable[..., Any]) -> None:
    script = Script(FULL, RESULT)
    with scripted(script) as url:
        connect(url).detect(b"image")
    first, second = script.times
    assert second - first >= 1


@pytest.mark.parametrize("reply", [FULL_NOW, problem(Draining("Bye."))])
def test_the_last_refusal_is_raised(
    connect: Callable[..., Any], scripted: Callable[..., Any], reply: tuple[int, dict[str, str], bytes]
) -> None:
    script = Script(reply)
    with scripted(script) as url, pytest.raises((QueueFull, Draining)):
        connect(url).detect(b"image")
    assert len(script.times) == 4


def test_a_refusal_that_says_when_has_it_too(connect: Callable[..., Any], scripted: Callable[..., Any]) -> None:
    with scripted(Script(FULL)) as url, pytest.raises(QueueFull, match="3 requests wait") as refused:
        connect(url, retry=RetryPolicy(attempts=1)).detect(b"image")
    assert refused.value.retry_after == 1


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 415, 422, 504, 507])
def test_other_refusals_are_not_tried_again(
    connect: Callable[..., Any], scripted: Callable[..., Any], status: int
) -> None:
    body = json.dumps({"type": "new-cause", "title": "Something new", "status": status, "hint": "x"}).encode()
    script = Script((status, {"content-type": "application/problem+json"}, body))
    with scripted(script) as url, pytest.raises(ServiceError, match="Something new") as refused:
        connect(url).detect(b"image")
    assert len(script.times) == 1
    assert type(refused.value) is ServiceError
    assert (refused.value.type, refused.value.status, refused.value.members) == ("new-cause", status, {"hint": "x"})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            (404, {"content-type": "text/html"}, b"<h1>nginx</h1>"),
            '/detect answered 404 Not Found, .*: "<h1>nginx</h1>"',
        ),
        ((200, {"content-type": "text/html"}, b"hello"), '/detect answered 200 OK, not as act-detr does: "hello"'),
        ((307, {"location": "https://example.org/detect"}, b""), "redirects to https://example.org/detect: use that"),
        ((200, {"content-type": "application/json"}, b"{}"), "version of the client expects: detections: Field req"),
        ((200, {"content-type": "application/json"}, b"{"), "version of the client expects: JSON: Invalid JSON"),
        ((413, {"content-type": "application/problem+json"}, b"{}"), "answered 413 .*, not as act-detr does"),
        ((413, {"content-type": "application/problem+json"}, b"\xff"), "answered 413 .*, not as act-detr does"),
    ],
)
def test_answers_of_something_else(
    connect: Callable[..., Any],
    scripted: Callable[..., Any],
    reply: tuple[int, dict[str, str], bytes],
    words: str,
) -> None:
    with scripted(Script(reply)) as url, pytest.raises(ServiceError, match=words) as refused:
        connect(url).detect(b"image", request_id="mine")
    assert (refused.value.type, refused.value.status) == ("about:blank", reply[0])
    assert str(refused.value).endswith("(request mine)")


@contextmanager
def breaking(times: int, at: str) -> Iterator[tuple[str, list[str]]]:
    """Reset the first connections, before the body is read or in the middle of the answer; answer those after them."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[str] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                seen.append(at)
                if len(seen) <= times and at == "request":
                    connection.recv(1)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    continue
                received = b""
                while b"image" not in received.partition(b"\r\n\r\n")[2]:
                    received += connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(RESULT[2])}\r\n"
                whole = len(seen) > times
                connection.sendall(head.encode() + b"\r\n" + RESULT[2][: None if whole else 20])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.mark.parametrize("at", ["request", "answer"])
def test_connections_that_break_are_tried_again(connect: Callable[..., Any], at: str) -> None:
    with breaking(2, at) as (url, seen):
        assert connect(url).detect(b"image").model == "pages-small"
        assert len(seen) == 3
    with breaking(99, at) as (url, seen):
        with pytest.raises(NoAnswer, match="cut off"):
            connect(url).detect(b"image")
        assert len(seen) == 4


def test_an_answer_that_does_not_come_is_not_asked_for_again(scripted: Callable[..., Any]) -> None:
    asked, over = [], threading.Event()

    async def reply(scope: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(body)
        await asyncio.to_thread(over.wait, 20)
        return RESULT

    async def ask(url: str) -> None:
        http = httpx.AsyncClient(trust_env=False, timeout=0.3)
        async with http, AsyncClient(url, http=http) as client:
            await client.detect(b"image")

    with scripted(reply) as url:
        with httpx.Client(trust_env=False, timeout=0.3) as http, pytest.raises(NoAnswer, match="no answer in time"):
            Client(url, http=http).detect(b"image")
        with pytest.raises(NoAnswer, match="no answer in time"):
            asyncio.run(ask(url))
        over.set()
    assert len(asked) == 2
