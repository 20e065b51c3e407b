"""HTTP/1.1 on a connection: uvicorn's, with bounds on slow and on many callers; it answers in problems."""

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
    """Seconds for a head to arrive, seconds for an answer to be taken, and connections open at once."""

    header_seconds: float
    answer_seconds: float
    connections: int


def http_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Return the protocol class for uvicorn."""

    class BoundedProtocol(H11Protocol):
        """Closes connections that never send a whole head or never take their answer; tells of broken ones.

        Connections that rest between two requests have uvicorn's keep-alive timer, and make room for new ones.
        """

        LIMITS: Final = limits

        _head_timer: asyncio.TimerHandle | None = None
        _answer_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > self.LIMITS.connections and not self._make_room():
                transport.abort()
                return
            transport.set_write_buffer_limits(high=0)  # paused: there is something that the caller has not taken
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:  # the next head has begun
                self._unset_keepalive_if_required()
                self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            self._answer_taken()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer_timer = self.loop.call_later(self.LIMITS.answer_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._answer_taken()
            super().resume_writing()

        def _make_room(self) -> bool:
            """Close the connection that has rested the longest since its last answer, if any rests."""
            timers = {other: getattr(other, "timeout_keep_alive_task", None) for other in self.connections}
            resting = {other: timer.when() for other, timer in timers.items() if timer is not None}
            if not resting:
                return False
            longest: H11Protocol = min(resting, key=resting.__getitem__)  # type: ignore[assignment]
            longest.timeout_keep_alive_handler()
            self.connections.discard(longest)  # its place is free now, its end comes with the loop's next turn
            return True

        def _answer_taken(self) -> None:
            if self._answer_timer is not None:
                self._answer_timer.cancel()
                self._answer_timer = None

        def _watch_head(self) -> None:
            """While a head is on its way, a timer runs that no further byte resets."""
            if self.conn.their_state is not h11.IDLE:
                self._stop_watching()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(self.LIMITS.header_seconds, self.transport.close)

        def _stop_watching(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.close()  # an answer is on its way already
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
