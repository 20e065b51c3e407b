"""How spans leave the process: exporters, their queue, what is logged of failures, and a bounded end.

The SDK itself reads the standard variables: sampler, limits, queue, resource, and where and how exporters send.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 2.0
"""How long the end of the process waits for a collector."""
_PACKAGES: Final = {
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}


def tracer_provider(exporters: Sequence[str], version: str) -> TracerProvider:
    """Return a provider that sends spans through the exporters registered under these names.

    Spans wait in a bounded queue for a thread of their own. Raises ValueError for an exporter that is not installed,
    and what its constructor raises.
    """
    failures = _FailureLog()
    ours = Resource.create({"service.name": "act-detr", "service.version": version})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    for name in exporters:
        provider.add_span_processor(BatchSpanProcessor(_Watched(_exporter(name), failures)))
    return provider


def close(provider: TracerProvider) -> None:
    """Send what waits, for at most CLOSE_SECONDS: with a collector that is down, the SDK would wait for 30 s."""
    thread = threading.Thread(target=provider.shutdown, name="close-traces", daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)
    if thread.is_alive():
        logger.warning("the last spans could not be sent within %g s", CLOSE_SECONDS)


def _exporter(name: str) -> SpanExporter:
    registered = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if registered is None:
        package = f": pip install {_PACKAGES[name]}" if name in _PACKAGES else ""
        raise ValueError(f"there is no exporter {name!r} of OTEL_TRACES_EXPORTER{package}")
    exporter: SpanExporter = registered.load()()
    return exporter


class _Watched(SpanExporter):
    """An exporter whose successes end an outage."""

    def __init__(self, exporter: SpanExporter, failures: _FailureLog) -> None:
        self._exporter = exporter
        self._failures = failures

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._failures.forget()
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


class _FailureLog(logging.Handler):
    """Logs what OpenTelemetry warns of once an outage, not once a span or a try: it takes all that it logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged: set[tuple[str, int]] = set()
        theirs = logging.getLogger("opentelemetry")
        theirs.propagate = False
        theirs.handlers[:] = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message the first time that its line of code sends one."""
        line = (record.pathname, record.lineno)
        if line not in self._logged:
            self._logged.add(line)
            logger.log(record.levelno, "traces: %s", record.getMessage())

    def forget(self) -> None:
        """Log the next failure again: spans arrive."""
        if self._logged:
            self._logged.clear()
            logger.info("traces are sent")
