"""Middleware around every request. Pure ASGI: Starlette's BaseHTTPMiddleware would hide disconnecting clients."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ClientClosed, InternalError
from service.http.head_requests import ASKED_METHOD
from service.http.problems import error_response
from service.telemetry.metrics import Metrics
from service.telemetry.request_log import log_request
from service.telemetry.request_record import RequestRecord, request_id
from service.telemetry.tracing import RequestTrace, Tracer

logger = logging.getLogger(__name__)

_UNKNOWN_ROUTE: Final = "unmatched"
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class RequestObserver:
    """Gives each request a record and an id, and finishes it: headers, metrics, log line, trace.

    Exceptions become a 500.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(request_id(Headers(scope=scope).get("x-request-id")))
        scope.setdefault("state", {})["record"] = record
        trace = self._tracer.begin(record, scope)
        await _Exchange(self._app, self._metrics, scope, record, trace, send).run(receive)


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        scope: Scope,
        record: RequestRecord,
        trace: RequestTrace | None,
        send: Send,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._scope = scope
        self._record = record
        self._trace = trace
        self._send = send
        self._status: int | None = None
        self._finished = False

    async def run(self, receive: Receive) -> None:
        try:
            await self._app(self._scope, receive, self._on_send)
        except Exception:
            logger.exception("unexpected error", extra={"request_id": self._record.request_id})
            if self._status is None:
                await error_response(InternalError(), self._scope)(self._scope, receive, self._on_send)
            else:  # the response has begun: all that is left is to cut it off
                raise
        finally:
            self._finish(self._status or ClientClosed.status)

    async def _on_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._record.request_id
            headers["Server-Timing"] = self._record.server_timing()
            for name, value in _SECURITY_HEADERS.items():
                headers[name] = value
        elif not message.get("more_body", False) and self._status is not None:
            self._finish(self._status)  # before the client sees the end: if it reads the metrics next, it is counted
        await self._send(message)

    def _finish(self, status: int) -> None:
        if self._finished:
            return
        self._finished = True
        self._record.end()
        route: str | None = getattr(self._scope.get("route"), "path_format", None)
        self._metrics.observe_request(self._record, route or _UNKNOWN_ROUTE, status)
        method = self._scope["state"].get(ASKED_METHOD, self._scope["method"])
        log_request(self._record, method, route or _UNKNOWN_ROUTE, status)
        if self._trace is not None:
            self._trace.finish(self._record, method, route, status)


class LingeringClose:
    """Closes a connection gently after a response that came before the whole body was read.

    If the connection were closed while the body still arrives, the client's kernel would discard the response. So the
    response is sent, the rest of the body is read and dropped for up to LINGER_SECONDS, and then it is closed.
    """

    LINGER_SECONDS: Final = 1.0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        # With `Expect: 100-continue`, reading the body would tell the client to send it.
        never_asked_for = "expect" in headers
        lingering = False

        async def watched_receive() -> Message:
            nonlocal unread, never_asked_for
            message = await receive()
            never_asked_for = False
            unread = unread and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal lingering
            if message["type"] == "http.response.start" and unread:
                MutableHeaders(scope=message)["Connection"] = "close"
                lingering = not never_asked_for
            if not lingering or message["type"] == "http.response.start" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(self.LINGER_SECONDS):
                    while unread:
                        await watched_receive()
            await send({"type": "http.response.body"})

        await self._app(scope, watched_receive, watched_send)
