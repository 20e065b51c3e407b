"""One HTTP exchange over a connection of its own: what was asked, what came back, when, or what went wrong instead.

Raw asyncio and h11, not a client library: one library's pool looks through all its connections for every request, so
that with hundreds of them open its own work would show in the latencies. A connection for each exchange, because
independent callers share none, and because then it is never in doubt which request a closed connection belonged to.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

REFUSED: Final = "refused"
"""Nobody listens at the port: the request has not been sent."""
CUT: Final = "cut"
"""The connection ended before a whole answer."""
TIMEOUT: Final = "timeout"
"""No answer as long as the caller had patience."""
EXTRA: Final = "extra"
"""More bytes came than one answer has."""

now = time.monotonic
_LINGER_SECONDS: Final = 5.0
_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """A service: where it listens, and the headers that every request to it carries."""

    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, url: str, api_key: str = "") -> Target:
        """Read `http://host:port`. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url} is not http://host:port")
        key = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        return cls(parts.hostname, parts.port or 80, key)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: a status, or 0 and a `failure`. Times are seconds on the clock `now`."""

    sent: float
    ended: float
    status: int = 0
    failure: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class _Received:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


async def exchange(
    target: Target, method: str, path: str, body: bytes = b"", *, patience: float, request_id: str = ""
) -> Answer:
    """Send a request and wait for its answer, `patience` seconds at most. Never raises for what the service does."""
    sent = now()
    request = _request(target, method, path, body, request_id)
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(target.host, target.port)
            try:
                return await _converse(request, body, sent, reader, writer)
            finally:
                writer.close()
    except TimeoutError:
        return Answer(sent, now(), failure=TIMEOUT)
    except ConnectionRefusedError:
        return Answer(sent, now(), failure=REFUSED)
    except (OSError, h11.RemoteProtocolError):
        return Answer(sent, now(), failure=CUT)


def _request(target: Target, method: str, path: str, body: bytes, request_id: str) -> h11.Request:
    headers = [("host", f"{target.host}:{target.port}"), ("connection", "close"), ("content-length", str(len(body)))]
    marked = [("x-request-id", request_id)] if request_id else []
    return h11.Request(method=method, target=path, headers=[*headers, *marked, *target.headers])


async def _converse(
    request: h11.Request, body: bytes, sent: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    for event in (request, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    # Not drained before reading: a service may well answer before it has read everything.
    received = await _receive(connection, reader)
    ended = now()
    failure = EXTRA if await _trailing(connection, reader) else ""
    return Answer(sent, ended, received.status, failure, received.headers, bytes(received.body))


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> _Received:
    received = _Received()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            received.status = event.status_code
            received.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            received.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return received


async def _trailing(connection: h11.Connection, reader: asyncio.StreamReader) -> bool:
    """Tell whether anything follows the answer until the service closes the connection."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            return bool(connection.trailing_data[0] or await reader.read(1))
    except (TimeoutError, OSError):
        return False
