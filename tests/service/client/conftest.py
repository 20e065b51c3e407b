"""Both clients behind one face, and servers that answer as a test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from service.client import AsyncClient, Client, RetryPolicy

QUICK = RetryPolicy(attempts=4, total_seconds=20, first_delay=0.01, max_delay=0.02)


class Blocking:
    """An AsyncClient whose methods block, so that one test is for both clients."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            if isinstance(result, AsyncIterator):
                return self._iterate(result)
            return self._loop.run_until_complete(result)

        return call

    def _iterate(self, outcomes: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(outcomes))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(outcomes.aclose())


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function (url, **options) that makes a client, quick to try again and closed after the test."""
    loop = asyncio.new_event_loop()
    clients: list[Any] = []

    def connected(url: str, **options: Any) -> Any:
        options = {"retry": QUICK, **options}
        if request.param == "sync":
            clients.append(Client(url, http=httpx.Client(trust_env=False, timeout=20), **options))
        else:
            http = httpx.AsyncClient(trust_env=False, timeout=20)
            clients.append(Blocking(AsyncClient(url, http=http, **options), loop))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()
    loop.close()


@pytest.fixture
def client(connect: Callable[..., Any], service: Any) -> Any:
    """A client of the test file's server, sync and async."""
    return connect(f"http://127.0.0.1:{service.port}")


Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@contextmanager
def _scripted(reply: Callable[[dict[str, Any], bytes], Awaitable[Reply]]) -> Iterator[str]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, headers, content = await reply(scope, body)
        named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": content})

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def scripted() -> Callable[..., AbstractContextManager[str]]:
    """Return a function (reply) that runs a server while its `with` block lasts, and gives its address.

    `reply` is awaited with the ASGI scope and the body of a request, and returns a Reply.
    """
    return _scripted
