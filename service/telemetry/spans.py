"""Spans of OpenTelemetry: one for a request, one for each of its stages, one for each batch on the device.

A request's spans are made when it has finished, from the times that its record has: they are those of the answer, the
headers, the log and the metrics. Only its own span begins with it, as others refer to it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, format_span_id, format_trace_id
from opentelemetry.util.types import AttributeValue
from starlette.datastructures import Headers

from service.errors import ServiceError
from service.telemetry.request_record import NO_ATTENTION, DetectedImage, RequestRecord, Stopwatch, now
from service.telemetry.span_export import close
from service.telemetry.tracing import Run, T, current_trace

_PROBES: Final = ("livez", "readyz", "metrics", "live", "ready")
"""Last parts of paths that are not traced: of probes, and of the scrapes of metrics."""
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_Attributes = dict[str, AttributeValue]


class SpanTracer:
    """A Tracer whose spans go to a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("act-detr")

    def begin(self, record: RequestRecord, scope: MutableMapping[str, Any]) -> RequestSpans | None:
        """Begin the span of a request below that of its caller, if there is one, unless it is a probe."""
        if scope["path"].rpartition("/")[2] in _PROBES:
            return None
        spans = RequestSpans(self._tracer, record, scope)
        current_trace.set(spans)
        record.exemplar = spans.ids if spans.sampled else None
        return spans

    def watch(self, run: Run[T]) -> Run[T]:
        """Return `run` with a span around each batch that has a sampled request."""

        def watched(items: Sequence[Any], attention: Any) -> Sequence[T]:
            traced: list[ImageSpans] = [item.trace for item in items if item.trace is not None and item.trace.sampled]
            if not traced:
                return run(items, attention)
            began = now()
            try:
                results = run(items, attention)
            except BaseException as error:
                self._add_batch(traced, len(items), attention, began, error)
                raise
            self._add_batch(traced, len(items), attention, began, None)
            return results

        return watched

    def _add_batch(
        self, traced: Sequence[ImageSpans], size: int, attention: Any, began: float, error: BaseException | None
    ) -> None:
        """Add a batch below the first request in it, with links to all, and let their images link to it.

        As the child of a request it is sampled if that is; a trace of its own would be sampled by itself.
        """
        wall = _WallClock()
        attributes: _Attributes = {"act_detr.batch_size": size, "thread.name": threading.current_thread().name}
        attributes["act_detr.attention.mode"] = getattr(attention, "mode", NO_ATTENTION)
        if error is not None:
            attributes["error.type"] = error.type if isinstance(error, ServiceError) else type(error).__qualname__
        requests = list({image.request.context.span_id: image.request.context for image in traced}.values())
        span = self._tracer.start_span(
            "batch",
            _below(requests[0]),
            attributes=attributes,
            links=[Link(context) for context in requests],
            start_time=wall.nanoseconds(began),
        )
        if error is not None:
            span.set_status(StatusCode.ERROR)
        span.end(wall.nanoseconds(now()))
        for image in traced:
            image.batches.append(span.get_span_context())

    def close(self) -> None:
        """Send what has not been sent, within two seconds."""
        close(self._provider)


class RequestSpans:
    """The spans of one request."""

    def __init__(self, tracer: trace.Tracer, record: RequestRecord, scope: MutableMapping[str, Any]) -> None:
        self._tracer = tracer
        self._wall = _WallClock()
        self._images: dict[int, ImageSpans] = {}
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: _Attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "act_detr.request_id": record.request_id,
        }
        caller = trace.get_current_span(propagate.extract(Headers(scope=scope), Context(), _HEADERS))
        self._span = tracer.start_span(
            "HTTP" if method == "_OTHER" else method,
            _below(caller.get_span_context()),
            SpanKind.SERVER,
            attributes,
            start_time=self._wall.nanoseconds(record.started),
        )
        self.context = self._span.get_span_context()
        self.sampled = self._span.is_recording() and self.context.trace_flags.sampled
        self.ids = {
            "trace_id": format_trace_id(self.context.trace_id),
            "span_id": format_span_id(self.context.span_id),
        }

    def image(self, stopwatch: Stopwatch) -> ImageSpans:
        """Return the image whose stages this stopwatch times."""
        image = self._images.get(id(stopwatch)) or ImageSpans(self, stopwatch)
        self._images[id(stopwatch)] = image
        return image

    def finish(self, record: RequestRecord, method: str, route: str | None, status: int) -> None:
        """Add the stages, and end the request's span."""
        if not self.sampled:
            return
        span = self._span
        if route is not None:
            span.update_name(f"{method if method in _METHODS else 'HTTP'} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if record.bytes_read:
            span.set_attribute("http.request.body.size", record.bytes_read)
        if record.error is not None:
            span.set_attribute("error.type", record.error)
        if record.image_errors:
            span.set_attribute("act_detr.image_errors", record.image_errors)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        if record.attention != NO_ATTENTION:
            span.set_attribute("act_detr.attention.mode", record.attention)
        itself = self._images.pop(id(record.stopwatch), None)
        self._add_stages(self.context, record.stopwatch, record.error, itself.batches if itself else ())
        self._add_images(record)
        span.end(self._wall.nanoseconds(record.started + record.elapsed))

    def _add_images(self, record: RequestRecord) -> None:
        """Add the stages of images: of a single one to the request itself, of several each to a span of its own."""
        results = {id(image.stopwatch): image for image in record.images}
        images = [image for image in self._images.values() if not self._goes_on(image)]
        single = len(images) == 1 and record.batch_images is None
        for image in images:
            result = results.get(id(image.stopwatch))
            attributes = _image_attributes(result) if result else {}
            if single:
                self._span.set_attributes(attributes)
                self._add_stages(self.context, image.stopwatch, record.error, image.batches)
            elif image.stopwatch.begun:
                self._add_image(image, attributes, failed=result is None)

    def _goes_on(self, image: ImageSpans) -> bool:
        """Return whether others go on with all stages of this image, in several ways."""
        stages = image.stopwatch.begun.items()
        return any(stages < other.stopwatch.begun.items() for other in self._images.values())

    def _add_image(self, image: ImageSpans, attributes: _Attributes, *, failed: bool) -> None:
        times = _intervals(image.stopwatch)
        span = self._start("image", self.context, min(began for _, began, _ in times), attributes)
        if failed:
            span.set_status(StatusCode.ERROR)
        self._add_stages(span.get_span_context(), image.stopwatch, None, image.batches)
        span.end(self._wall.nanoseconds(max(began + seconds for _, began, seconds in times)))

    def _add_stages(
        self, parent: SpanContext, stopwatch: Stopwatch, error: str | None, batches: Sequence[SpanContext] = ()
    ) -> None:
        for name, began, seconds in _intervals(stopwatch):
            links = [Link(batch) for batch in batches] if name == "inference" else []
            span = self._start(name, parent, began, {}, links)
            if name not in stopwatch.seconds:
                span.set_status(StatusCode.ERROR)
                span.set_attribute("error.type", error or "_OTHER")
            span.end(self._wall.nanoseconds(began + seconds))

    def _start(
        self, name: str, parent: SpanContext, began: float, attributes: _Attributes, links: Sequence[Link] = ()
    ) -> Span:
        start = self._wall.nanoseconds(began)
        return self._tracer.start_span(name, _below(parent), attributes=attributes, links=links, start_time=start)


class ImageSpans:
    """What the spans of one image are made of: the request, the stages' times, and the batches that it ran in."""

    def __init__(self, request: RequestSpans, stopwatch: Stopwatch) -> None:
        self.request = request
        self.stopwatch = stopwatch
        self.batches: list[SpanContext] = []

    @property
    def sampled(self) -> bool:
        """Whether spans are made at all."""
        return self.request.sampled


class _WallClock:
    """The wall clock at one moment, by which times of the service's clock around it become times of day."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - round(now() * 1e9)

    def nanoseconds(self, moment: float) -> int:
        """Return nanoseconds since 1970 for seconds on the service's clock."""
        return round(moment * 1e9) + self._offset


class _HeaderGetter(Getter[Headers]):
    """Reads a request's headers for propagators."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return all values of a header."""
        return carrier.getlist(key) or None

    def keys(self, carrier: Headers) -> list[str]:
        """Return the names of all headers."""
        return carrier.keys()


_HEADERS: Final = _HeaderGetter()


def _below(parent: SpanContext) -> Context:
    """Return a context of nothing but a parent: without the caller's baggage."""
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _intervals(stopwatch: Stopwatch) -> list[tuple[str, float, float]]:
    """Return name, begin and seconds of each stage; one that failed comes last."""
    stages = [(name, stopwatch.begun[name], seconds) for name, seconds in stopwatch.seconds.items()]
    if stopwatch.failed is not None:
        name, seconds = stopwatch.failed
        stages.append((name, stopwatch.begun[name], seconds))
    return stages


def _image_attributes(image: DetectedImage) -> _Attributes:
    report = image.prediction.attention
    attributes: _Attributes = {
        "act_detr.image.width": image.width,
        "act_detr.image.height": image.height,
        "act_detr.resized.width": image.resized[1],
        "act_detr.resized.height": image.resized[0],
        "act_detr.tiles": len(image.tiling),
        "act_detr.batch_size": image.batch_size,
        "act_detr.detections": len(image.detections),
        "act_detr.attention.mode": report.config.mode,
        "act_detr.attention.settings": str(report.config),
        "act_detr.attention.reason": image.reason,
        "act_detr.tokens": report.tokens,
        "act_detr.encoder_gflops": report.encoder_gflops,
        "act_detr.exact_encoder_gflops": report.exact_encoder_gflops,
    }
    if image.rung is not None:
        attributes["act_detr.rung"] = image.rung
    if report.merged_tokens is not None:
        attributes["act_detr.merged_tokens"] = report.merged_tokens
    if report.clusters:
        attributes["act_detr.clusters.mean"] = statistics.fmean(layer.mean for layer in report.clusters)
    return attributes
