"""One HTTP exchange on a connection of its own, from raw bytes.

No client library reports bytes that follow an answer: aiohttp and httpx drop them with the connection. So h11, the
parser below httpx, reads each connection to its end. Independent callers share no connection anyway, and it is always
certain which request a closed connection belonged to.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

REFUSED: Final = "refused"
"""No process listens at the port: the request has not been sent."""
CUT: Final = "cut"
"""The connection ended before a whole answer."""
TIMEOUT: Final = "timeout"
"""No answer within the caller's patience."""
EXTRA: Final = "extra"
"""More bytes followed the answer."""

now = time.monotonic
_LINGER_SECONDS: Final = 5.0
"""How long after its answer the service may take to close the connection."""


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a service, and the headers that every request to it carries."""

    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, url: str, api_key: str = "") -> Target:
        """Parse `http://host:port`. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url} is not http://host:port")
        return cls(parts.hostname, parts.port or 80, (("authorization", f"Bearer {api_key}"),) if api_key else ())


@dataclass(slots=True)
class Answer:
    """The result of an exchange: a status, or 0 and a `failure`. Times are seconds on the clock `now`."""

    sent: float
    ended: float = 0.0
    status: int = 0
    failure: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def exchange(
    target: Target, method: str, path: str, body: bytes = b"", *, patience: float, request_id: str = ""
) -> Answer:
    """Send a request and wait for its answer, `patience` seconds at most. Never raises for the service's failures."""
    headers = [("host", f"{target.host}:{target.port}"), ("connection", "close"), ("content-length", str(len(body)))]
    headers += [("x-request-id", request_id)] * bool(request_id)
    request = h11.Request(method=method, target=path, headers=[*headers, *target.headers])
    answer = Answer(now())
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(target.host, target.port)
            try:
                await _converse(request, body, reader, writer, answer)
            finally:
                writer.close()
        return answer
    except TimeoutError:
        failure = TIMEOUT
    except ConnectionRefusedError:
        failure = REFUSED
    except (OSError, h11.RemoteProtocolError):
        failure = CUT
    return Answer(answer.sent, now(), failure=failure)


async def _converse(
    request: h11.Request, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
) -> None:
    connection = h11.Connection(h11.CLIENT)
    for part in (request, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(part) or b"")  # not drained: a service may answer before it has read everything
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.body += bytes(event.data)
    answer.ended = now()
    if connection.trailing_data[0] or await _more(reader):
        answer.failure = EXTRA


async def _more(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            return bool(await reader.read(1))
    except (TimeoutError, OSError):
        return False
