"""The path prefix under which a proxy offers the service."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """Sets the app's root path. Requests are routed whether the proxy strips the prefix or leaves it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; the prefix without a slash is the web page."""
        if scope["type"] == "http":
            path = scope["path"]
            scope = {**scope, "root_path": self._prefix, "path": path + "/" if path == self._prefix else path}
        await self._app(scope, receive, send)
