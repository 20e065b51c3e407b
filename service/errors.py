"""Everything that can go wrong with a request, and the HTTP status of each: one class a cause.

Every class carries its own row of the map: `status`, `type` (a slug that never changes, for programs) and
`title` (for people; the same for every occurrence). `problem` renders an occurrence as the body of an
`application/problem+json` answer (RFC 9457). Nothing here knows a web framework: the app turns a ServiceError
into a response in one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


class ServiceError(Exception):
    """A request that ends in an error answer. Raise a subclass.

    `detail` explains this occurrence to the caller: no file names, no tracebacks. `headers` go out with the
    answer. `members` are extra members of the problem (`limit=…`, `parameter=…`): values that JSON can hold.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.members: dict[str, Any] = members

    def problem(self) -> dict[str, Any]:
        """Return the members of the problem+json body; an extra member never replaces a standard one."""
        standard: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail is not None:
            standard["detail"] = self.detail
        return standard | {name: value for name, value in self.members.items() if name not in standard}


class MalformedRequest(ServiceError):
    """The body or the headers do not follow their own format: broken multipart, JSON or base64."""

    status, type, title = 400, "malformed-request", "The request is malformed"


class Unauthorized(ServiceError):
    """No API key, or one that is not ours."""

    status, type, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **members)


class NotFound(ServiceError):
    """No such route."""

    status, type, title = 404, "not-found", "There is nothing at this address"


class MethodNotAllowed(ServiceError):
    """The route exists, with other methods: hand them in as the header `Allow`."""

    status, type, title = 405, "method-not-allowed", "This address does not take this method"


class RequestTimeout(ServiceError):
    """The body did not arrive in time. The rest of it may still come, so the connection is closed."""

    status, type, title = 408, "request-timeout", "The body did not arrive in time"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Connection": "close"}, **members)


class TooManyBytes(ServiceError):
    """The body is longer than the service takes."""

    status, type, title = 413, "too-many-bytes", "The body has too many bytes"


class TooManyPixels(ServiceError):
    """The image says that it has more pixels than the service decodes."""

    status, type, title = 413, "too-many-pixels", "The image has too many pixels"


class UnsupportedImageType(ServiceError):
    """Not an image, or of a format that the service does not read."""

    status, type, title = 415, "unsupported-image-type", "This is not an image type that the service reads"


class UnsupportedEncoding(ServiceError):
    """A body that is compressed once more, by `Content-Encoding`."""

    status, type, title = 415, "unsupported-encoding", "This Content-Encoding is not read"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Accept-Encoding": "identity"}, **members)


class UndecodableImage(ServiceError):
    """Of a format that the service reads, but truncated or corrupt."""

    status, type, title = 422, "undecodable-image", "The image cannot be decoded"


class BadParameter(ServiceError):
    """A query parameter or field with a value that has no meaning, or none in this combination."""

    status, type, title = 422, "bad-parameter", "A parameter has a value that is not allowed"


class QueueFull(ServiceError):
    """As many requests wait as the queue holds. `retry_after` is in seconds; sent whole, and at least 1."""

    status, type, title = 429, "queue-full", "Too many requests are waiting"

    def __init__(self, retry_after: float, detail: str | None = None, **members: Any) -> None:
        self.retry_after = max(1, math.ceil(retry_after))
        headers = {"Retry-After": str(self.retry_after)}
        super().__init__(detail, headers=headers, retry_after=self.retry_after, **members)


class ClientClosed(ServiceError):
    """The caller left before the answer. Nobody reads this one: it is for the log and the metrics."""

    status, type, title = 499, "client-closed", "The caller closed the connection"


class InternalError(ServiceError):
    """A fault of ours. The reason is for the log, never for the caller."""

    status, type, title = 500, "internal-error", "Something went wrong in the service"


class NotReady(ServiceError):
    """The model is still being loaded or warmed up."""

    status, type, title = 503, "not-ready", "The service is not ready yet"


class Draining(ServiceError):
    """The service is shutting down: it answers what it has accepted and takes no more, also on this connection."""

    status, type, title = 503, "draining", "The service is shutting down"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"Connection": "close"}, **members)


class WorkerDead(ServiceError):
    """The device failed, or the thread that owns it ended: nothing runs until the process is restarted."""

    status, type, title = 503, "device-failed", "The device that runs the model has failed"


class DeadlinePassed(ServiceError):
    """The request waited past its own deadline."""

    status, type, title = 504, "deadline-passed", "The deadline passed before the image could be processed"


class OutOfMemory(ServiceError):
    """The image, alone, does not fit into the device's memory. 507, not 503: sent again, it fails again."""

    status, type, title = 507, "out-of-memory", "The image is too large for the device's memory"


def all_errors() -> Iterator[type[ServiceError]]:
    """Every cause, in the order in which this module declares them."""
    yield from ServiceError.__subclasses__()


def framework_error(status: int, headers: Mapping[str, str] | None = None) -> ServiceError:
    """Return the error for a status that the web framework itself decided on: 404, 405, or a broken body.

    Any other status below 500 is a MalformedRequest; from 500 on it is an InternalError.
    """
    known: dict[int, type[ServiceError]] = {cause.status: cause for cause in (NotFound, MethodNotAllowed)}
    error = known.get(status, MalformedRequest if status < 500 else InternalError)()
    error.headers.update(headers or {})
    return error
