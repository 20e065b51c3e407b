"""uvicorn's HTTP/1.1 protocol with limits on headers, responses and connections."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.errors import PROBLEM_MEDIA_TYPE, MalformedRequest
from service.telemetry.request_record import request_id


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum seconds for headers to arrive and for a response to be received, and maximum open connections."""

    header_seconds: float
    response_seconds: float
    connections: int


def http_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Return the protocol class for uvicorn."""

    class BoundedProtocol(H11Protocol):
        """Closes connections that send headers or receive responses too slowly; answers invalid HTTP with a problem.

        Idle connections have uvicorn's keep-alive timer; the longest idle one is closed when a new one needs room.
        """

        LIMITS: Final = limits

        _head_timer: asyncio.TimerHandle | None = None
        _response_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > self.LIMITS.connections and not self._make_room():
                transport.abort()
                return
            transport.set_write_buffer_limits(high=0)  # paused whenever the client has not received everything
            self._start_head_timer()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._start_head_timer()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:  # the next headers have begun
                self._unset_keepalive_if_required()
                self._start_head_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_response_timer()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._response_timer = self.loop.call_later(self.LIMITS.response_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop_response_timer()
            super().resume_writing()

        def _make_room(self) -> bool:
            """Close the connection that has been idle for the longest time, if any is idle."""
            timers = {other: getattr(other, "timeout_keep_alive_task", None) for other in self.connections}
            idle = {other: timer.when() for other, timer in timers.items() if timer is not None}
            if not idle:
                return False
            oldest: H11Protocol = min(idle, key=idle.__getitem__)  # type: ignore[assignment]
            oldest.timeout_keep_alive_handler()
            self.connections.discard(oldest)  # frees its place now; the loop closes it at its next turn
            return True

        def _stop_response_timer(self) -> None:
            if self._response_timer is not None:
                self._response_timer.cancel()
                self._response_timer = None

        def _start_head_timer(self) -> None:
            """Run a timer while headers arrive; further bytes do not reset it."""
            if self.conn.their_state is not h11.IDLE:
                self._stop_head_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(self.LIMITS.header_seconds, self.transport.close)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.close()  # a response has begun already
                return
            problem = MalformedRequest("This is not HTTP.").problem() | {"request_id": request_id(None)}
            body = json.dumps(problem).encode()
            headers = [
                ("content-type", PROBLEM_MEDIA_TYPE),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

    return BoundedProtocol
