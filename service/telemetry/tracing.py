"""Traces: what the service tells a tracer, and the tracer that the environment's `OTEL_*` variables ask for.

Without these variables nothing is traced, and no part of the OpenTelemetry SDK is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:  # the log needs this module before torch has been imported
    from service.telemetry.request_record import RequestRecord, Stopwatch

logger = logging.getLogger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""Names under which the packages of OTLP's protocols register their exporters."""

T = TypeVar("T")
Run = Callable[[Sequence[Any], Any], Sequence[T]]
"""Runs a batch: items and their key to one result each. An item's `trace` is an ImageTrace or None."""


class ImageTrace(Protocol):
    """The trace of one image: opaque to all but the tracer that made it."""


class RequestTrace(Protocol):
    """The trace of one request. `ids` are its `trace_id` and `span_id` in hexadecimal, for log lines."""

    ids: dict[str, str]

    def image(self, stopwatch: Stopwatch) -> ImageTrace:
        """Return the trace of the image whose stages `stopwatch` times; it need not come to a result.

        An image that goes on in two ways, each with a copy of its stopwatch, becomes two.
        """

    def finish(self, record: RequestRecord, method: str, route: str | None, status: int) -> None:
        """End the trace of a request that has finished; `route` is None for an address that does not exist."""


class Tracer(Protocol):
    """Makes traces. No method raises, or waits for anything that is sent."""

    def begin(self, record: RequestRecord, scope: MutableMapping[str, Any]) -> RequestTrace | None:
        """Begin the trace of a request, by its ASGI scope; None if it is not to be traced."""

    def watch(self, run: Run[T]) -> Run[T]:
        """Return `run` such that its batches are traced."""

    def close(self) -> None:
        """Send what has not been sent, within two seconds."""


class NoTracer:
    """Traces nothing."""

    def begin(self, record: RequestRecord, scope: MutableMapping[str, Any]) -> None:
        """Return None: no request is traced."""

    def watch(self, run: Run[T]) -> Run[T]:
        """Return `run` itself."""
        return run

    def close(self) -> None:
        """Do nothing."""


NO_TRACER: Final = NoTracer()
current_trace: Final[ContextVar[RequestTrace | None]] = ContextVar("current_trace", default=None)
"""The trace of the request that the current task serves."""


def configured_tracer(environment: Mapping[str, str], version: str) -> Tracer:
    """Return the tracer that the environment asks for; `version` is the service's own.

    If it cannot be had, because a package is missing or a variable is wrong, logs a warning and returns NO_TRACER.
    """
    try:
        exporters = exporter_names(environment)
        if not exporters:
            return NO_TRACER
        from service.telemetry.span_export import tracer_provider
        from service.telemetry.spans import SpanTracer

        tracer = SpanTracer(tracer_provider(exporters, version))
    except ModuleNotFoundError as error:
        logger.warning(
            "nothing is traced: OTEL_* variables ask for traces, but %s is missing: run pip install '.[otel]' in a "
            "checkout of the repository",
            error.name,
        )
        return NO_TRACER
    except Exception as error:
        logger.warning("nothing is traced: %s", error)
        return NO_TRACER
    logger.info("requests are traced by %s", ", ".join(exporters))
    return tracer


def exporter_names(environment: Mapping[str, str]) -> list[str]:
    """Return the names under which the exporters that the environment asks for are registered; none by default.

    Raises ValueError for an OTLP protocol that does not exist.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    default = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none"
    asked = (name.strip() for name in (environment.get("OTEL_TRACES_EXPORTER") or default).split(","))
    return [_otlp(environment) if name == "otlp" else name for name in asked if name not in ("", "none")]


def _otlp(environment: Mapping[str, str]) -> str:
    variable = next((name for name in _PROTOCOLS if environment.get(name)), None)
    protocol = environment[variable].strip() if variable else "http/protobuf"
    if protocol not in _EXPORTERS:
        raise ValueError(f"{variable} must be one of {', '.join(_EXPORTERS)}, not {protocol!r}")
    return _EXPORTERS[protocol]
