"""uvicorn, with an end that answers everything accepted."""

from __future__ import annotations

import logging
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.http.http_protocol import ConnectionLimits, http_protocol
from service.readiness import Admission, Readiness
from service.settings import Settings
from service.telemetry.request_record import now

logger = logging.getLogger(__name__)

_LAST_BYTES_SECONDS = 5
"""After the drain: how long answers that have been made may take to be sent."""
_LAST_REFUSALS_SECONDS = 1.0
"""After the last answer of the drain: how long requests that were on their way are still told 503."""
_MAX_HEAD_BYTES = 64 * 1024


class DrainingServer(uvicorn.Server):
    """Drains on the first SIGTERM or SIGINT, and stops at once on the second.

    Draining, it keeps listening, refuses new work with 503, and answers what it has accepted; soon after that
    it stops.
    """

    def __init__(self, config: uvicorn.Config, readiness: Readiness, admission: Admission, seconds: float) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._admission = admission
        self._seconds = seconds
        self._drain_end: float | None = None
        self._idle_since: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or stop. A drained process ends with status 0, not by the signal."""
        if self._drain_end is not None:
            super().handle_exit(sig, frame)
            return
        self._readiness.drain()
        self._drain_end = now() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to stop, ten times a second."""
        stop = await super().on_tick(counter)
        if self._drain_end is None:
            return stop
        return stop or now() >= self._drain_end or self._idle_for() >= _LAST_REFUSALS_SECONDS

    def _idle_for(self) -> float:
        """Seconds since the last accepted request was answered, as far as ticks can tell."""
        if self._admission.inflight:
            self._idle_since = None
            return 0.0
        self._idle_since = self._idle_since or now()
        return now() - self._idle_since

    def _log_started_message(self, listeners: object) -> None:
        """Say where the service listens: one line, ours."""
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
    return DrainingServer(config, app.state.readiness, app.state.admission, settings.drain_seconds)
