"""The error of a request that got no answer."""

from __future__ import annotations

from typing import Final

import httpx

_REASONS: Final[tuple[tuple[type[httpx.RequestError], str], ...]] = (
    (httpx.ConnectTimeout, "the connection was not accepted in time"),
    (httpx.ConnectError, "no connection"),
    (httpx.ReadTimeout, "no answer in time"),
    (httpx.WriteTimeout, "the image was not taken in time"),
    (httpx.TransportError, "the connection was cut off"),
)


class NoAnswer(ConnectionError):
    """The service cannot be reached, did not answer in time, or the connection broke.

    `url` is the address that was asked, `request_id` the id that the request had.
    """

    def __init__(self, url: str, request_id: str, cause: httpx.RequestError) -> None:
        what = next((text for kind, text in _REASONS if isinstance(cause, kind)), "the answer cannot be read")
        why = f": {cause}" if str(cause) else ""
        super().__init__(f"{url}: {what}{why} (request {request_id})")
        self.url = url
        self.request_id = request_id
