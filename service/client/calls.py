"""The service's routes as calls: what is sent, and how the answer is read. Nothing here waits for the network."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import httpx

from service.client.answers import read_batch, read_model, read_png
from service.client.no_answer import NoAnswer
from service.client.options import comparison_query_of, query_of
from service.client.retrying import ONCE, Answer, Attempts, RetryPolicy
from service.errors import ServiceError
from service.http.model_schemas import ModelCard
from service.http.schemas import ComparisonResult, DetectionResult, Health

T = TypeVar("T")
_FIELD: Final = "image"
_MAX_ID: Final = 128


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, whatever sends it: `arguments` are those of httpx's `request`."""

    method: str
    url: str
    read: Callable[[httpx.Response], T]
    request_id: str
    retry: RetryPolicy
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def attempts(self) -> Attempts:
        """Return the account of this call's attempts."""
        return Attempts(self.retry)

    def result(self, answer: Answer) -> T:
        """Return what the last answer says. Raises NoAnswer, and ServiceError if it is a refusal."""
        if isinstance(answer, httpx.RequestError):
            url = httpx.URL(self.url).copy_with(userinfo=b"")
            raise NoAnswer(str(url), self.request_id, answer) from answer
        return self.read(answer)


class Calls:
    """Makes the calls to the service at one address. Raises ValueError for an address or key that cannot be one."""

    def __init__(self, base_url: str, api_key: str | None, retry: RetryPolicy) -> None:
        self._base = _checked_url(base_url)
        self._headers = {"Accept": "application/json"} | _key_header(api_key)
        self._retry = retry

    def detect(self, image: bytes, options: Mapping[str, Any], request_id: str | None) -> Call[DetectionResult]:
        """`POST /detect` for JSON. Raises BadParameter."""
        return self._images("/detect", _result, query_of(options), request_id, content=image)

    def detect_drawn(self, image: bytes, options: Mapping[str, Any], request_id: str | None) -> Call[bytes]:
        """`POST /detect` for a PNG. Raises BadParameter."""
        return self._images("/detect", read_png, query_of(options), request_id, accept="image/png", content=image)

    def detect_batch(
        self, images: Sequence[bytes], options: Mapping[str, Any], request_id: str | None
    ) -> Call[list[DetectionResult | ServiceError]]:
        """`POST /detect/batch`. Raises BadParameter."""
        files = [(_FIELD, (f"{index}", image)) for index, image in enumerate(images)]
        return self._images("/detect/batch", read_batch, query_of(options), request_id, files=files)

    def compare(self, image: bytes, options: Mapping[str, Any], request_id: str | None) -> Call[ComparisonResult]:
        """`POST /compare`. Raises BadParameter."""
        query = comparison_query_of(options)
        return self._images("/compare", _comparison, query, request_id, content=image)

    def model(self) -> Call[ModelCard]:
        """`GET /model`."""
        return self._call("GET", "/model", lambda answer: read_model(answer, ModelCard), None, self._retry, {})

    def health(self, path: str) -> Call[Health]:
        """`GET /livez` or `GET /readyz`, sent once: its answer is about now."""
        return self._call("GET", path, lambda answer: read_model(answer, Health), None, ONCE, {})

    def _images(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        query: Mapping[str, Any],
        request_id: str | None,
        accept: str = "application/json",
        **body: Any,
    ) -> Call[T]:
        arguments = {"params": query, **body}
        return self._call("POST", path, read, request_id, self._retry, arguments, accept)

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[httpx.Response], T],
        request_id: str | None,
        retry: RetryPolicy,
        arguments: dict[str, Any],
        accept: str = "application/json",
    ) -> Call[T]:
        request_id = _checked_id(request_id)
        headers = self._headers | {"Accept": accept, "X-Request-Id": request_id}
        return Call(method, self._base + path, read, request_id, retry, {**arguments, "headers": headers})


def _result(answer: httpx.Response) -> DetectionResult:
    return read_model(answer, DetectionResult)


def _comparison(answer: httpx.Response) -> ComparisonResult:
    return read_model(answer, ComparisonResult)


def _checked_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not an address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(
            f"the address of a service is like http://127.0.0.1:8000, with a path or not, not {base_url!r}"
        )
    return base_url.rstrip("/")


def _key_header(api_key: str | None) -> dict[str, str]:
    """Not `Authorization`, which is free for the password of a proxy."""
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ValueError("an API key is printable ASCII without spaces")
    return {"x-api-key": api_key}


def _checked_id(request_id: str | None) -> str:
    if request_id is None:
        return uuid.uuid4().hex
    if not (request_id.isascii() and request_id.isprintable()) or not 0 < len(request_id) <= _MAX_ID:
        raise ValueError(f"a request's id is 1 to {_MAX_ID} printable ASCII characters")
    return request_id
