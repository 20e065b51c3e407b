"""The middleware of Ray's HTTP proxies: it sends lost requests again, and turns Ray's own refusals into the service's.

Ray finds it by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deploy.ray.proxy.middlewares, in the environment that
`ray start` runs in, with the repository on PYTHONPATH. Nothing here imports torch.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import PROBLEM_MEDIA_TYPE, DeadlinePassed, NotReady, QueueFull, ServiceError, WorkerDead

_PAUSES: Final = (0.05, 0.5)
"""Seconds before each further try. Few: a request that kills the process that runs it must not kill them all."""
_MAX_KEPT_BYTES: Final = 64 * 2**20
"""Bytes of a body that are kept for a further try; a longer one has a single try."""
_RETRY: Final = {"Retry-After": "1"}
_GONE: Final = "The replica that had this request is gone. Send it again."


def middlewares() -> list[Middleware]:
    """Return the middleware that Ray wraps around its proxy."""
    return [Middleware(SecondTry)]


class SecondTry:
    """Sends a request again when its replica died or refused it with a 503, before the caller saw anything.

    Detection changes nothing, so that is safe. When no try succeeds, the caller gets the last refusal, or a
    503 `device-failed`. Paths below `/-/` are Ray's own and pass as they are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the proxy, once or more."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        body, ours = _Body(receive), _request_id(Headers(scope=scope).get("x-request-id"))
        headers = [row for row in scope["headers"] if row[0] != b"x-request-id"]
        headers.append((b"x-request-id", ours.encode()))
        for pause in (*_PAUSES, None):
            answer = _Answer(send, ours)
            await self._app({**scope, "headers": list(headers)}, body.replay(), answer.on_message)
            if answer.begun or body.caller_left:
                return
            if pause is None or not body.complete_copy:
                break
            await asyncio.sleep(pause)
        await answer.release()


class _Body:
    """The messages of a caller, kept so that they can be read from the start again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._bytes = 0
        self.caller_left = False

    @property
    def complete_copy(self) -> bool:
        """Whether nothing of what came had to be thrown away."""
        return self._bytes <= _MAX_KEPT_BYTES

    def replay(self) -> Receive:
        """Return a `receive` that begins at the first message."""
        index = 0

        async def receive() -> Message:
            nonlocal index
            index += 1
            if index <= len(self._kept):
                return self._kept[index - 1]
            message = await self._receive()
            self._keep(message)
            return message

        return receive

    def _keep(self, message: Message) -> None:
        self.caller_left = self.caller_left or message["type"] == "http.disconnect"
        self._bytes += len(message.get("body", b""))
        if self.complete_copy:
            self._kept.append(message)
        else:
            self._kept.clear()


class _Answer:
    """The answer of one try, held until it has a body, and for good where it is a refusal with a 503."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._held: list[Message] = []
        self.begun = False

    async def on_message(self, message: Message) -> None:
        """Take what the proxy would send."""
        if self.begun:
            await self._send(message)
            return
        self._held.append(message)
        if len(self._held) > 1 and self._held[0]["status"] != 503:
            await self.release()

    async def release(self) -> None:
        """Send the answer that is held; without one, a 503 that says so."""
        self.begun = True
        held, send = self._held, self._send
        error = WorkerDead(_GONE, headers=_RETRY) if len(held) < 2 else _translate(held[0])
        if error is not None:
            held, self._send = self._problem(error), _nowhere
        for message in held:
            await send(_one_id(message) if message["type"] == "http.response.start" else message)

    def _problem(self, error: ServiceError) -> list[Message]:
        body = json.dumps(error.problem() | {"request_id": self._request_id}).encode()
        own = {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body)), "x-request-id": self._request_id}
        return [
            {"type": "http.response.start", "status": error.status, "headers": Headers(own | error.headers).raw},
            {"type": "http.response.body", "body": body},
        ]


def _one_id(message: Message) -> Message:
    """Return the head with one x-request-id: the app's, which Ray adds its own behind."""
    headers = MutableHeaders(raw=list(message["headers"]))
    ids = headers.getlist("x-request-id")
    if ids:
        headers["x-request-id"] = ids[0]
    return {**message, "headers": headers.raw}


def _translate(head: Message) -> ServiceError | None:
    """Return the error that replaces a plain text of Ray's; None for answers of the app."""
    if not Headers(raw=head["headers"]).get("content-type", "").startswith("text/plain"):
        return None
    if head["status"] == 429:
        return QueueFull(1, "Every replica is full.")
    if head["status"] == 503:
        return NotReady("There is no replica.", headers=_RETRY)
    return DeadlinePassed() if head["status"] == 408 else None


def _request_id(given: str | None) -> str:
    """Return the caller's own id where it is short and plain, else a new one, for every try."""
    plain = given and len(given) <= 128 and given.isascii() and given.isprintable()
    return given if given and plain else uuid.uuid4().hex


async def _nowhere(_: Message) -> None:
    """Send nothing."""
