"""A path under which a proxy offers the service, beside others on one host."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """Tells the app where it lies. The proxy may have stripped the prefix or left it: both are found."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; the bare prefix is the page."""
        if scope["type"] == "http":
            path = scope["path"]
            scope = {**scope, "root_path": self._prefix, "path": path + "/" if path == self._prefix else path}
        await self._app(scope, receive, send)
