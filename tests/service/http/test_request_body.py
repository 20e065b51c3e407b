from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request

from service.errors import (
    BadParameter,
    ClientClosed,
    MalformedRequest,
    RequestTimeout,
    ServiceError,
    TooManyBytes,
    UnsupportedEncoding,
    UnsupportedImageType,
)
from service.http.request_body import read_image, read_images
from service.settings import Settings
from service.telemetry.request_record import RequestRecord

IMAGE = b"\x89PNG not really an image" * 10
LIMITS = Settings(max_bytes=len(IMAGE), max_batch_bytes=1000, max_batch_parts=3, body_timeout_s=0.1)
FORM = "multipart/form-data; boundary=b"
JSON = "application/json"


def request(chunks: Iterable[bytes | None], content_type: str = "", *headers: tuple[str, str]) -> Request:
    """Return a request whose body arrives in chunks; None stands for a client that disconnects."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks if chunk is not None]
    if None in chunks:
        messages.append({"type": "http.disconnect"})
    else:
        messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    named = [("content-type", content_type), *headers] if content_type else headers
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in named]
    return Request({"type": "http", "headers": encoded, "state": {"record": RequestRecord("id")}}, receive)


def read(body: bytes, content_type: str = "", *headers: tuple[str, str]) -> bytes:
    return asyncio.run(read_image(request([body], content_type, *headers), LIMITS))


def part(data: bytes = IMAGE, name: bytes = b"image") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + data + b"\r\n"


def encoded(data: bytes = IMAGE) -> bytes:
    return json.dumps({"image": base64.b64encode(data).decode()}).encode()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (IMAGE, ""),
        (IMAGE, "image/png"),
        (IMAGE, "IMAGE/PNG; q=1"),
        (IMAGE, "application/octet-stream"),
        (IMAGE, "application/x-www-form-urlencoded"),
        (part() + b"--b--\r\n", FORM),
        (encoded(), JSON),
    ],
)
def test_every_form_of_body_gives_the_image(body: bytes, content_type: str) -> None:
    assert read(body, content_type) == IMAGE
    in_pieces = request([body[start : start + 7] for start in range(0, len(body), 7)], content_type)
    assert asyncio.run(read_image(in_pieces, LIMITS)) == IMAGE
    assert in_pieces.state.record.bytes_read == len(body)


def test_a_batch_gives_its_images_in_order() -> None:
    body = part(b"one") + part(b"two") + b"--b--\r\n"
    assert asyncio.run(read_images(request([body], FORM), LIMITS)) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", MalformedRequest),
        (b"\xff\xfe", MalformedRequest),
        (b"[" * 100, MalformedRequest),
        (b"[" + b"{}," * 100 + b"{}]", MalformedRequest),  # too many values, counted before it is parsed
        (b"[]", BadParameter),
        (b"{}", BadParameter),
        (b'{"image": 5}', BadParameter),
        (b'{"image": "aaaa", "threshold": 1}', BadParameter),
        (b'{"image": "!!"}', MalformedRequest),
        ('{"image": "ä"}'.encode(), MalformedRequest),
    ],
)
def test_bad_json_is_refused(body: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        read(body, JSON)


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (part() + b"--b--\r\n", "multipart/form-data", MalformedRequest),
        (part() + b"--b--\r\n", "multipart/form-data; boundary=" + "x" * 5000, MalformedRequest),
        (part(), FORM, MalformedRequest),
        (b"garbage", FORM, MalformedRequest),
        (b"", FORM, MalformedRequest),
        (b"--b--\r\n", FORM, BadParameter),
        (part() + part() + b"--b--\r\n", FORM, BadParameter),
        (part(name=b"picture") + b"--b--\r\n", FORM, BadParameter),
    ],
)
def test_bad_forms_are_refused(body: bytes, content_type: str, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        read(body, content_type)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (IMAGE + b"x", ""),
        (part(IMAGE + b"x" * 70_000) + b"--b--\r\n", FORM),
        (encoded(IMAGE + b"x"), JSON),
        (b'{"image": "' + b"\\n" * 70_000 + b'"}', JSON),
    ],
)
def test_a_body_beyond_the_limit_is_refused_in_every_form(body: bytes, content_type: str) -> None:
    with pytest.raises(TooManyBytes) as refused:
        read(body, content_type)
    assert refused.value.members["limit"] >= len(IMAGE)


def test_an_announced_length_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(TooManyBytes):
        asyncio.run(read_image(request([], "", ("content-length", str(len(IMAGE) + 1))), LIMITS))


def test_the_images_and_bytes_of_a_batch_are_bounded() -> None:
    def refusal(body: bytes) -> ServiceError:
        with pytest.raises(ServiceError) as refused:
            asyncio.run(read_images(request([body], FORM), LIMITS))
        return refused.value

    assert isinstance(refusal(part(b"x") * 4), BadParameter)
    assert isinstance(refusal(part(b"x" * 1001)), TooManyBytes)
    assert isinstance(refusal(b"--b--\r\n"), BadParameter)


@pytest.mark.parametrize("content_type", ["text/plain", "application/pdf"])
def test_bodies_of_other_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedImageType):
        read(IMAGE, content_type)


def test_a_batch_must_be_a_form() -> None:
    with pytest.raises(UnsupportedImageType):
        asyncio.run(read_images(request([IMAGE]), LIMITS))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["gzip"], "gzip"),
        (["GZIP"], "gzip"),
        (["identity, gzip, br"], "gzip, br"),
        (["identity", "zstd"], "zstd"),  # in two headers
        (["x" * 5000], "x" * 100),
    ],
)
@pytest.mark.parametrize("read_body", [read_image, read_images])
def test_a_compressed_body_is_refused_unread(values: list[str], named: str, read_body: Any) -> None:
    headers = [("content-encoding", value) for value in values]
    with pytest.raises(UnsupportedEncoding, match=f"'{named}'") as refused:
        asyncio.run(read_body(request([], "", *headers), LIMITS))
    assert refused.value.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("value", ["identity", "", "Identity, identity"])
def test_the_identity_encoding_is_read(value: str) -> None:
    assert read(IMAGE, "", ("content-encoding", value)) == IMAGE


def test_a_client_that_disconnects_is_not_an_error_of_the_body() -> None:
    with pytest.raises(ClientClosed):
        asyncio.run(read_image(request([b"x", None]), LIMITS))


def test_a_body_that_stalls_is_a_timeout() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    stalled = Request({"type": "http", "headers": [], "state": {"record": RequestRecord("id")}}, never)
    with pytest.raises(RequestTimeout):
        asyncio.run(read_image(stalled, LIMITS))
