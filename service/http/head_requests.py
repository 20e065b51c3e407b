"""HEAD requests: answered like GET, with the same headers and without a body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKED_METHOD: Final = "asked_method"
"""Key of the client's own method in the request's state."""


class HeadAsGet:
    """Runs a HEAD request as a GET whose body is dropped, and adds HEAD to the header `Allow` beside GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = scope["method"]
        scope.setdefault("state", {})[ASKED_METHOD] = asked
        if asked == "HEAD":
            scope = {**scope, "method": "GET"}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                _allow_head(MutableHeaders(scope=message))
            elif asked == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, answer)


def _allow_head(headers: MutableHeaders) -> None:
    allowed = {method.strip() for method in headers.get("allow", "").split(",")}
    if "GET" in allowed:
        headers["allow"] = ", ".join(sorted(allowed | {"HEAD"}))
