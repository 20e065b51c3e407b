"""The errors of requests: one class per cause, with its HTTP status.

Every class has a `status`, a `type` (a slug for programs, which never changes) and a `title` (for people, the same for
every occurrence). `problem` renders an occurrence as the body of an `application/problem+json` response (RFC 9457).
This module knows no web framework: the app turns errors into responses in one place, and `received_error` turns them
back where they arrive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
STANDARD_MEMBERS: Final = ("type", "title", "status", "detail", "request_id")
_MAX_ROWS: Final = 10


class ServiceError(Exception):
    """A request that ends in an error response. Raise a subclass.

    `detail` explains this occurrence to the caller, without file names or tracebacks. `headers` are sent with the
    response. `members` are extra members of the problem (`limit=…`, `parameter=…`): values that JSON can hold.
    `request_id` is that of the request, in an error that a client received.
    """

    status: int
    type: str
    title: str
    request_id: str | None = None

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.members: dict[str, Any] = members

    def __str__(self) -> str:
        """The detail, else the title; of an error that a client received, with the request's id."""
        text = self.detail or self.title
        return text if self.request_id is None else f"{text} (request {self.request_id})"

    def problem(self) -> dict[str, Any]:
        """Return the members of the problem+json body; an extra member never replaces a standard one."""
        standard: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail is not None:
            standard["detail"] = self.detail
        return standard | {name: value for name, value in self.members.items() if name not in standard}


class MalformedRequest(ServiceError):
    """The body or the headers are malformed: multipart, JSON, base64 or HTTP itself."""

    status, type, title = 400, "malformed-request", "The request is malformed"


class Unauthorized(ServiceError):
    """The API key is missing or wrong."""

    status, type, title = 401, "unauthorized", "A valid API key is required"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **members)


class NotFound(ServiceError):
    """The route does not exist."""

    status, type, title = 404, "not-found", "This address does not exist"


class MethodNotAllowed(ServiceError):
    """The route does not have this method; its methods are in the header `Allow`."""

    status, type, title = 405, "method-not-allowed", "This address does not support this method"


class RequestTimeout(ServiceError):
    """The body did not arrive in time. The rest may still arrive, so the connection is closed."""

    status, type, title = 408, "request-timeout", "The body did not arrive in time"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Connection": "close"}, **members)


class TooManyBytes(ServiceError):
    """The body or an image is too long."""

    status, type, title = 413, "too-many-bytes", "The body has too many bytes"


class TooManyPixels(ServiceError):
    """The image has too many pixels, by its header."""

    status, type, title = 413, "too-many-pixels", "The image has too many pixels"


class UnsupportedImageType(ServiceError):
    """The body is not an image, or is of an unsupported format."""

    status, type, title = 415, "unsupported-image-type", "This image type is not supported"


class UnsupportedEncoding(ServiceError):
    """The body is compressed with `Content-Encoding`."""

    status, type, title = 415, "unsupported-encoding", "This Content-Encoding is not supported"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Accept-Encoding": "identity"}, **members)


class UndecodableImage(ServiceError):
    """The image is of a supported format, but truncated or corrupt."""

    status, type, title = 422, "undecodable-image", "The image cannot be decoded"


class BadParameter(ServiceError):
    """A query parameter or field is invalid, or invalid in this combination."""

    status, type, title = 422, "bad-parameter", "A parameter is invalid"


class QueueFull(ServiceError):
    """Too many requests wait. `retry_after` is rounded up to whole seconds, at least 1."""

    status, type, title = 429, "queue-full", "Too many requests are waiting"

    def __init__(self, retry_after: float, detail: str | None = None, **members: Any) -> None:
        seconds = max(1, math.ceil(retry_after))
        super().__init__(detail, headers={"Retry-After": str(seconds)}, retry_after=seconds, **members)

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before the next attempt; None only in an error that was received without them."""
        return self.members.get("retry_after")


class ClientClosed(ServiceError):
    """The client disconnected before the response. This error is only for the log and the metrics."""

    status, type, title = 499, "client-closed", "The client closed the connection"


class InternalError(ServiceError):
    """A fault of the service. The reason is logged, and hidden from the caller."""

    status, type, title = 500, "internal-error", "The service failed"


class NotReady(ServiceError):
    """The model is still being warmed up."""

    status, type, title = 503, "not-ready", "The service is not ready yet"


class Draining(ServiceError):
    """The service is shutting down: it answers accepted requests and refuses others. The connection is closed."""

    status, type, title = 503, "draining", "The service is shutting down"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Connection": "close"}, **members)


class WorkerDead(ServiceError):
    """The device or its thread has failed: nothing runs until the process is restarted."""

    status, type, title = 503, "device-failed", "The device that runs the model has failed"


class DeadlinePassed(ServiceError):
    """The request's deadline passed before its inference started."""

    status, type, title = 504, "deadline-passed", "The deadline passed before the image could be processed"


class OutOfMemory(ServiceError):
    """The image does not fit into the device's memory. The status is 507, not 503, as a retry would fail again."""

    status, type, title = 507, "out-of-memory", "The image is too large for the device's memory"


def all_errors() -> Iterator[type[ServiceError]]:
    """Yield every error class, in the order of this module."""
    yield from ServiceError.__subclasses__()


def framework_error(status: int, headers: Mapping[str, str] | None = None) -> ServiceError:
    """Return the error for a status that the web framework raised itself: 404, 405, or a malformed body.

    Other statuses below 500 become MalformedRequest, those from 500 on InternalError.
    """
    known: dict[int, type[ServiceError]] = {cause.status: cause for cause in (NotFound, MethodNotAllowed)}
    error = known.get(status, MalformedRequest if status < 500 else InternalError)()
    error.headers.update(headers or {})
    return error


def invalid_parameters(rows: Sequence[Mapping[str, Any]]) -> BadParameter:
    """Return the error for parameters that pydantic refused; the `loc` of a row starts with the place, as `query`.

    A row that comes again is left out: FastAPI checks a query for each dependency that reads it.
    """
    distinct = {(row["parameter"], row["message"]): row for row in map(_explained, rows)}
    errors = list(distinct.values())[:_MAX_ROWS]
    return BadParameter("; ".join(f"{row['parameter']}: {row['message']}" for row in errors), errors=errors)


def _explained(row: Mapping[str, Any]) -> dict[str, str]:
    name = ".".join(str(part) for part in row["loc"][1:]) or str(row["loc"][0])
    unknown = row["type"] == "extra_forbidden"
    message = "There is no such parameter" if unknown else str(row["msg"]).removeprefix("Value error, ")
    return {"parameter": name[:100], "message": message[:300]}


def received_error(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ServiceError:
    """Return the error that a problem describes, as `ServiceError.problem` wrote it and a client received it.

    `problem` has the members `type`, `title` and `status`, and may have others: `detail`, `request_id`, extra ones. It
    is of the class of its type; of a type that this version does not know, a plain ServiceError.
    """
    cause = {known.type: known for known in all_errors()}.get(problem["type"], ServiceError)
    error = cause.__new__(cause)
    error.type, error.title, error.status = problem["type"], problem["title"], problem["status"]
    ServiceError.__init__(error, problem.get("detail"), headers=headers)
    error.request_id = problem.get("request_id")
    error.members = {name: value for name, value in problem.items() if name not in STANDARD_MEMBERS}
    return error
