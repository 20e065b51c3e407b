"""uvicorn with a graceful drain."""

from __future__ import annotations

import logging
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.http.dependencies import Service
from service.http.http_protocol import ConnectionLimits, http_protocol
from service.readiness import Readiness
from service.scheduling.admission import Admission
from service.settings import Settings
from service.telemetry.request_record import now

logger = logging.getLogger(__name__)

_LAST_BYTES_SECONDS = 5
"""Time for finished responses to be sent after the drain."""
_LAST_REFUSALS_SECONDS = 1.0
"""Time for requests that were on their way to be answered 503 after the drain's last response."""
_MAX_HEAD_BYTES = 64 * 1024


class DrainingServer(uvicorn.Server):
    """Drains on the first SIGTERM or SIGINT, and stops at once on the second.

    While it drains, it keeps listening, refuses new requests with 503, and answers the accepted ones. Then it stops.
    """

    def __init__(self, config: uvicorn.Config, readiness: Readiness, admission: Admission, seconds: float) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._admission = admission
        self._seconds = seconds
        self._drain_end: float | None = None
        self._idle_since: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or stop. A drained process exits with status 0, not by the signal."""
        if self._drain_end is not None:
            super().handle_exit(sig, frame)
            return
        self._readiness.drain()
        self._drain_end = now() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; called ten times a second."""
        stop = await super().on_tick(counter)
        if self._drain_end is None:
            return stop
        return stop or now() >= self._drain_end or self._idle_for() >= _LAST_REFUSALS_SECONDS

    def _idle_for(self) -> float:
        """Return the seconds since no accepted request was under way, to the precision of ticks."""
        if self._admission.inflight:
            self._idle_since = None
            return 0.0
        self._idle_since = self._idle_since or now()
        return now() - self._idle_since

    def _log_started_message(self, listeners: object) -> None:
        """Log where the service listens, in one line."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        logger.info("listening on http://%s:%d", shown, port)


def build_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """Return the server for an app that `create_app` made."""
    limits = ConnectionLimits(settings.header_timeout_s, settings.answer_timeout_s, settings.max_connections)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_keep_alive=settings.keepalive_timeout_s,  # type: ignore[arg-type]  # seconds, whole or not
        timeout_graceful_shutdown=_LAST_BYTES_SECONDS,
    )
    service: Service = app.state.service
    return DrainingServer(config, service.readiness, service.admission, settings.drain_seconds)
