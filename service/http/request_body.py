"""Reading images from a request's body, raw, multipart or JSON; limits are checked while it arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.errors import (
    BadParameter,
    ClientClosed,
    MalformedRequest,
    RequestTimeout,
    TooManyBytes,
    UnsupportedEncoding,
    UnsupportedImageType,
)
from service.http.base64_text import decode_base64, longest_text
from service.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD: Final = "image"
# curl's --data-binary declares any body a form by default.
_RAW_TYPES: Final = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_ENVELOPE: Final = 64 * 1024
"""Bytes allowed for part headers and boundaries, or for JSON around the base64 text."""
_MAX_JSON_VALUES: Final = 100
"""Limit on commas and brackets, checked before parsing: each may become an object many times its size in memory.
Base64 contains none of them, and a data URL one comma."""


async def read_image(request: Request, limits: Settings) -> bytes:
    """Return the one image of the body.

    Raises TooManyBytes, MalformedRequest, BadParameter (not one image), UnsupportedImageType (of the body),
    UnsupportedEncoding, RequestTimeout, ClientClosed.
    """
    _refuse_encodings(request)
    media_type, options = _content_type(request)
    max_bytes = limits.max_bytes
    if media_type == "multipart/form-data":
        images = await _read_parts(request, options, max_bytes + _ENVELOPE, 1, limits.body_timeout_s)
        if len(images) != 1:
            raise BadParameter(f"The form has no field `{FIELD}`.", parameter=FIELD)
        return images[0]
    if media_type == "application/json":
        body = await _read_all(request, longest_text(max_bytes) + _ENVELOPE, limits.body_timeout_s)
        return await asyncio.to_thread(_from_json, body, max_bytes)  # takes up to a fifth of a second
    if media_type in _RAW_TYPES or media_type.startswith("image/"):
        return await _read_all(request, max_bytes, limits.body_timeout_s)
    raise UnsupportedImageType(
        f"A body of type {media_type[:100]!r} is not supported: send the image itself (image/*), a multipart form "
        f'with the field `{FIELD}`, or JSON {{"{FIELD}": base64}}.'
    )


async def read_images(request: Request, limits: Settings) -> list[bytes]:
    """Return the images of a multipart body, in order, at least one. Raises what `read_image` raises."""
    _refuse_encodings(request)
    media_type, options = _content_type(request)
    if media_type != "multipart/form-data":
        raise UnsupportedImageType(f"A batch must be a multipart form with fields named `{FIELD}`.")
    images = await _read_parts(request, options, limits.max_batch_bytes, limits.max_batch_parts, limits.body_timeout_s)
    if not images:
        raise BadParameter(f"The form has no field `{FIELD}`.", parameter=FIELD)
    return images


async def read_bytes(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Return the body as it is.

    Raises TooManyBytes, UnsupportedEncoding, RequestTimeout after so many seconds, ClientClosed.
    """
    _refuse_encodings(request)
    return await _read_all(request, max_bytes, seconds)


def _refuse_encodings(request: Request) -> None:
    """Refuse compressed bodies: images are compressed already, and unpacking would have to be bounded."""
    named = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    encodings = [name for name in map(str.strip, named) if name not in ("", "identity")]
    if encodings:
        raise UnsupportedEncoding(
            f"A body with Content-Encoding {', '.join(encodings)[:100]!r} is not supported: send the image as it is."
        )


def _content_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    return media_type.decode("latin-1"), options


async def _chunks(request: Request, limit: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises TooManyBytes above `limit` bytes, RequestTimeout after `seconds`."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_long(limit)
    total = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                total += len(chunk)
                request.state.record.bytes_read = total
                if total > limit:
                    raise _too_long(limit)
                yield chunk
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {seconds:g} seconds.") from None
    except ClientDisconnect:
        raise ClientClosed("The client disconnected while sending the body.") from None


def _too_long(limit: int) -> TooManyBytes:
    return TooManyBytes(f"The body may have at most {limit} bytes.", limit=limit)


async def _read_all(request: Request, limit: int, seconds: float) -> bytes:
    body = bytearray()
    async for chunk in _chunks(request, limit, seconds):
        body += chunk
    return bytes(body)


def _from_json(body: bytes, max_bytes: int) -> bytes:
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > _MAX_JSON_VALUES:
        raise MalformedRequest(f'JSON must be {{"{FIELD}": "<base64>"}}: this has too many values.')
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("The body is not JSON.") from error
    encoded = document.get(FIELD) if isinstance(document, dict) else None
    if not isinstance(encoded, str) or len(document) != 1:
        raise BadParameter(f'JSON must be {{"{FIELD}": "<base64>"}} and nothing else.', parameter=FIELD)
    return decode_base64(encoded, name=FIELD, max_bytes=max_bytes)


async def _read_parts(
    request: Request, options: dict[bytes, bytes], limit: int, max_images: int, seconds: float
) -> list[bytes]:
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequest("The Content-Type of the multipart form has no boundary.")
    form = _Form(max_images)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in _chunks(request, limit, seconds):
            parser.write(chunk)
    except FormParserError as error:
        raise MalformedRequest("The multipart form is broken.") from error
    if not form.ended:
        raise MalformedRequest("The multipart form is truncated: its final boundary is missing.")
    return [bytes(image) for image in form.images]


class _Form:
    """Collects the images of a multipart form from the parser's callbacks; any other field is refused."""

    def __init__(self, max_images: int) -> None:
        self.images: list[bytearray] = []
        self.ended = False
        self._max_images = max_images
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self.images[-1].extend(data[start:end]),
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._disposition = b""

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise BadParameter(f"The form has an unknown field {name[:100]!r}: the only field is `{FIELD}`.")
        if len(self.images) >= self._max_images:
            raise BadParameter(
                f"The form may have at most {self._max_images} image(s); see /detect/batch.", limit=self._max_images
            )
        self.images.append(bytearray())

    def _end(self) -> None:
        self.ended = True
