"""Traces of a real server whose spans stay in memory; tests/end_to_end/test_tracing.py sends them to a collector."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.telemetry.tracing import NO_TRACER, configured_tracer, exporter_names

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="needs pip install '.[otel]'")

from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

from service.telemetry import span_export  # noqa: E402
from service.telemetry.spans import SpanTracer  # noqa: E402

ROOT = Path(__file__).parents[3]
STAGES = ["read", "wait", "decode", "preprocess", "queue", "inference", "postprocess"]
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


class Traces:
    """A tracer, and the spans that it has made."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer = SpanTracer(provider)

    @property
    def spans(self) -> list[Any]:
        return list(self._memory.get_finished_spans())

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Any) -> list[Any]:
        """Return the children of a span, as they began."""
        children = [span for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]
        return sorted(children, key=lambda span: span.start_time)

    def of(self, name: str) -> Any:
        (span,) = self.named(name)
        return span


def milliseconds(span: Any) -> float:
    return (span.end_time - span.start_time) / 1e6


def timings(server_timing: str) -> dict[str, float]:
    parts = (part.split(";dur=") for part in server_timing.split(", "))
    return {name: float(value) for name, value in parts}


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def traced(start: Callable[..., Any], traces: Traces) -> Callable[..., AbstractContextManager[Any]]:
    """Return a function (**settings) that runs a traced server around the fake detector."""
    return lambda **settings: start(tracer=traces.tracer, **settings)


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "pages", "OTEL_TRACES_SAMPLER": "always_on"}, []),
        (OTLP, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/traces"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
        (OTLP | {"OTEL_SDK_DISABLED": "True"}, []),
        (OTLP | {"OTEL_TRACES_EXPORTER": "none"}, []),
        (OTLP | {"OTEL_TRACES_EXPORTER": ""}, ["otlp_proto_http"]),
        (OTLP | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (
            OTLP | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            ["otlp_proto_http"],
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"]),
    ],
)
def test_the_standard_variables_say_where_spans_go(environment: dict[str, str], names: list[str]) -> None:
    assert exporter_names(environment) == names


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (OTLP | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL must be one of http/prot"),
        ({"OTEL_TRACES_EXPORTER": "zipkon"}, "there is no exporter 'zipkon' of OTEL_TRACES_EXPORTER"),
    ],
)
def test_what_cannot_be_traced_to_is_a_warning(
    environment: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert configured_tracer(environment, "1") is NO_TRACER
    assert f"nothing is traced: {reason}" in caplog.text


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=plain | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_a_missing_package_is_a_warning_that_says_what_to_install() -> None:
    script = """
import logging, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
logging.basicConfig(level="WARNING")
from service.telemetry.tracing import NO_TRACER, configured_tracer
assert configured_tracer({"OTEL_TRACES_EXPORTER": "otlp"}, "1") is NO_TRACER
"""
    log = python(script).stderr
    assert "OTEL_* variables ask for traces, but opentelemetry.sdk is missing: run pip install '.[otel]'" in log


def test_without_the_variables_no_part_of_the_sdk_is_imported() -> None:
    script = """
import os, sys
import service.app, service.server
from service.telemetry.tracing import NO_TRACER, configured_tracer
assert configured_tracer(os.environ, "1") is NO_TRACER
ours = ("service.telemetry.spans", "service.telemetry.span_export")
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", *ours))])
"""
    assert python(script).stdout == "[]\n"


def test_a_request_has_a_span_and_one_for_each_stage(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        answer = server.client.post(
            "/detect?attention=act&L=8&r=2", content=png, headers=CALLER | {"x-request-id": "me"}
        )
    request = traces.of("POST /detect")
    assert request.kind is SpanKind.SERVER
    assert f"{request.context.trace_id:032x}" == CALLER["traceparent"].split("-")[1]
    assert f"{request.parent.span_id:016x}" == CALLER["traceparent"].split("-")[2]
    assert request.status.status_code is StatusCode.UNSET
    expected = {
        "http.request.method": "POST",
        "http.route": "/detect",
        "http.response.status_code": 200,
        "http.request.body.size": len(png),
        "url.path": "/detect",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "act_detr.request_id": "me",
        "act_detr.image.width": 60,
        "act_detr.image.height": 40,
        "act_detr.tiles": 1,
        "act_detr.batch_size": 1,
        "act_detr.attention.mode": "act",
        "act_detr.attention.settings": "act:L=8,r=2",
        "act_detr.tokens": 2400,
        "act_detr.clusters.mean": 4,
        "act_detr.encoder_gflops": 1.5,
        "act_detr.exact_encoder_gflops": 3,
        "act_detr.detections": 2,
    }
    assert request.attributes.items() >= expected.items()
    stages = [span for span in traces.below(request) if span.name != "batch"]
    assert [span.name for span in stages] == STAGES
    timing = timings(answer.headers["server-timing"])
    assert answer.json()["timing_ms"].items() <= (timing | {"total": answer.json()["timing_ms"]["total"]}).items()
    assert {span.name: milliseconds(span) for span in stages} == pytest.approx(
        {name: timing[name] for name in STAGES}, abs=0.0011
    )
    assert all(request.start_time <= span.start_time <= span.end_time <= request.end_time for span in stages)
    assert all(before.end_time <= after.start_time + 1000 for before, after in pairwise(stages))  # nanoseconds


def test_a_request_takes_as_long_in_its_trace_as_in_the_metrics(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        server.client.post("/detect?attention=exact", content=png)
        labels = {"route": "/detect", "attention": "exact", "status": "200"}
        seconds = server.metric("act_detr_request_duration_seconds_sum", **labels)
    assert milliseconds(traces.of("POST /detect")) == pytest.approx(seconds * 1e3, abs=0.0011)


def test_drawing_is_a_stage(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        server.client.post("/detect", content=png, headers={"accept": "image/png"})
    assert traces.below(traces.of("POST /detect"))[-1].name == "draw"


def test_images_that_ran_together_share_a_batch_that_links_to_their_requests(
    traced: Any, traces: Traces, png: bytes, detector: Any
) -> None:
    with traced(max_batch=2, streams=1) as server, ThreadPoolExecutor(3) as pool:
        detector.gate.clear()
        calls = [pool.submit(server.client.post, "/detect?attention=exact", content=png)]
        server.eventually(lambda: detector.entered == 1)
        calls += [pool.submit(server.client.post, "/detect?attention=act", content=png) for _ in range(2)]
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 2)
        detector.gate.set()
        assert [call.result().json()["batch_size"] for call in calls] == [1, 2, 2]
    requests = {
        span.context.span_id: span
        for span in traces.named("POST /detect")
        if span.attributes["act_detr.attention.mode"] == "act"
    }
    (batch,) = [span for span in traces.named("batch") if span.attributes["act_detr.batch_size"] == 2]
    assert {link.context.span_id for link in batch.links} == set(requests)
    assert batch.parent.span_id == batch.links[0].context.span_id
    assert batch.attributes["thread.name"] == "inference-0"
    assert batch.attributes["act_detr.attention.mode"] == "act"
    for request in requests.values():
        (inference,) = [span for span in traces.below(request) if span.name == "inference"]
        assert [link.context.span_id for link in inference.links] == [batch.context.span_id]


def test_images_of_one_request_have_spans_of_their_own(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        server.client.post("/detect/batch?attention=exact", files=[("image", png), ("image", b"junk"), ("image", png)])
    request = traces.of("POST /detect/batch")
    assert request.attributes["act_detr.image_errors"] == ("unsupported-image-type",)
    assert "act_detr.tokens" not in request.attributes
    images = [span for span in traces.below(request) if span.name == "image"]
    bad = [span for span in images if span.status.status_code is StatusCode.ERROR]
    assert [span.name for span in traces.below(bad[0])] == ["wait", "decode"]
    assert len(images) == 3
    for image in set(images) - set(bad):
        stages = traces.below(image)
        assert [span.name for span in stages] == STAGES[1:]
        assert (image.start_time, image.end_time) == (stages[0].start_time, stages[-1].end_time)
        assert image.attributes["act_detr.tokens"] == 2400


def test_both_sides_of_a_comparison_have_spans_and_share_what_was_done_once(
    traced: Any, traces: Traces, png: bytes
) -> None:
    with traced() as server:
        assert server.client.post("/compare?left=exact&right=act", content=png).status_code == 200
    left, right = [span for span in traces.below(traces.of("POST /compare")) if span.name == "image"]
    modes = {span.attributes["act_detr.attention.mode"] for span in (left, right)}
    assert modes == {"exact", "act"}
    stages = [traces.below(image) for image in (left, right)]
    assert [[span.name for span in each] for each in stages] == [STAGES[1:]] * 2
    assert [span.end_time for span in stages[0][:3]] == [span.end_time for span in stages[1][:3]]


def test_tiles_of_an_image_link_to_all_their_batches(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        server.client.post("/detect?tiles=2x2", content=png)
    (inference,) = traces.named("inference")
    assert {link.context.span_id for link in inference.links} == {
        span.context.span_id for span in traces.named("batch")
    }
    assert len(inference.links) == 4


@pytest.mark.parametrize(
    ("query", "content_type", "body", "status", "error", "stages"),
    [
        ("L=2", "image/png", b"", 422, "bad-parameter", []),
        ("", "application/json", b"junk", 400, "malformed-request", ["read"]),
        ("", "image/png", b"junk", 415, "unsupported-image-type", ["read", "wait", "decode"]),
        ("", "image/png", b"", 422, "undecodable-image", ["read", "wait", "decode"]),
    ],
)
def test_an_error_is_named_by_its_problem_and_so_is_the_stage_that_failed(
    traced: Any, traces: Traces, query: str, content_type: str, body: bytes, status: int, error: str, stages: Any
) -> None:
    with traced() as server:
        answer = server.client.post(f"/detect?{query}", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["type"]) == (status, error)
    request = traces.of("POST /detect")
    assert request.attributes.items() >= {"http.response.status_code": status, "error.type": error}.items()
    assert request.status.status_code is StatusCode.UNSET  # by the conventions: the mistake is the caller's
    assert [span.name for span in traces.below(request)] == stages
    assert failures(traces.below(request)) == dict.fromkeys(stages[-1:], error)


def failures(spans: list[Any]) -> dict[str, str]:
    """Return the errors of those that failed, by name."""
    return {span.name: span.attributes["error.type"] for span in spans if span.status.status_code is StatusCode.ERROR}


def test_a_fault_of_the_service_is_an_error_of_its_spans(
    traced: Any, traces: Traces, png: bytes, detector: Any
) -> None:
    detector.broken = RuntimeError("oh")
    with traced() as server:
        assert server.client.post("/detect", content=png).status_code == 500
    request = traces.of("POST /detect")
    assert failures([request]) == {"POST /detect": "internal-error"}
    assert failures(traces.below(request)) == {"queue": "internal-error", "batch": "RuntimeError"}


def test_a_refused_image_fails_in_the_queue(traced: Any, traces: Traces, png: bytes, detector: Any) -> None:
    with traced(max_queue=1, streams=1) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        first = pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        assert server.client.post("/detect?tiles=2x2", content=png).status_code == 429
        detector.gate.set()
        assert first.result().status_code == 200
    (refused,) = [span for span in traces.named("POST /detect") if "error.type" in span.attributes]
    assert failures(traces.below(refused)) == {"queue": "queue-full"}


def test_probes_are_not_traced_and_unknown_addresses_have_no_route(traced: Any, traces: Traces) -> None:
    with traced() as server:
        for path in ("/livez", "/readyz", "/metrics"):
            server.client.get(path)
        server.client.get("/nowhere/17")
        server.client.head("/model")
        server.client.request("BREW", "/model")
    names = [span.name for span in traces.spans]
    assert names == ["GET", "HEAD /model", "HTTP /model"]
    lost, _, brewed = traces.spans
    assert lost.attributes["error.type"] == "not-found"
    assert "http.route" not in lost.attributes
    assert brewed.attributes["http.request.method"] == "_OTHER"


def test_what_a_caller_does_not_sample_is_neither_kept_nor_an_exemplar(traced: Any, traces: Traces, png: bytes) -> None:
    unsampled = {"traceparent": CALLER["traceparent"].removesuffix("01") + "00"}
    with traced() as server:
        server.client.post("/detect", content=png, headers=unsampled)
        assert "trace_id" not in exposition(server)
    assert traces.spans == []


def exposition(server: Any) -> str:
    text: str = server.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}).text
    return text


def test_latencies_have_the_trace_as_their_exemplar(traced: Any, traces: Traces, png: bytes) -> None:
    with traced() as server:
        server.client.post("/detect?attention=exact", content=png, headers=CALLER)
        lines = [line for line in exposition(server).splitlines() if " # {" in line]
        assert "trace_id" not in server.client.get("/metrics").text
    context = traces.of("POST /detect").context
    labels = f'# {{span_id="{context.span_id:016x}",trace_id="{context.trace_id:032x}"}}'
    alike = f'# {{trace_id="{context.trace_id:032x}",span_id="{context.span_id:016x}"}}'
    assert all(labels in line or alike in line for line in lines)
    assert {re.split("[{]", line)[0] for line in lines} == {
        "act_detr_request_duration_seconds_bucket",
        "act_detr_stage_duration_seconds_bucket",
    }
    assert len(lines) == 1 + len(STAGES)


def test_without_a_tracer_there_are_no_exemplars(service: Any, png: bytes) -> None:
    service.client.post("/detect", content=png, headers=CALLER)
    assert " # {" not in exposition(service)


def test_log_lines_name_the_trace(traced: Any, png: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    from service.telemetry.log_setup import add_trace_ids

    seen = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Keep()
    handler.addFilter(add_trace_ids)
    requests = logging.getLogger("act_detr.request")
    requests.addHandler(handler)
    requests.setLevel(logging.INFO)
    try:
        with traced() as server:
            server.client.post("/detect", content=png, headers=CALLER)
    finally:
        requests.removeHandler(handler)
        requests.setLevel(logging.NOTSET)
    (line,) = seen
    assert vars(line)["trace_id"] == CALLER["traceparent"].split("-")[1]
    assert len(vars(line)["span_id"]) == 16


class Collector(SpanExporter):
    """An exporter that fails while it is `down`, and waits while `open` is cleared."""

    def __init__(self) -> None:
        self.down = False
        self.open = threading.Event()
        self.open.set()
        self.exports = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.exports += 1
        assert self.open.wait(30)
        if self.down:
            logging.getLogger("opentelemetry.exporter.test").error("Failed to export %d", self.exports)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that every exporter's name stands for; afterwards OpenTelemetry logs as before."""
    made = Collector()
    monkeypatch.setattr(span_export, "_exporter", lambda name: made)
    theirs = logging.getLogger("opentelemetry")
    handlers, propagate = list(theirs.handlers), theirs.propagate
    yield made
    theirs.handlers[:], theirs.propagate = handlers, propagate


def test_an_outage_of_the_collector_is_logged_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.telemetry.span_export")
    provider = span_export.tracer_provider(["test"], "1")
    for down in (True, True, False, True, False):
        collector.down = down
        provider.get_tracer("test").start_span("span").end()
        provider.force_flush()
    messages = [record.getMessage() for record in caplog.records]
    failed = "traces: Failed to export {}".format
    assert messages == [failed(1), "traces are sent", failed(4), "traces are sent"]
    provider.shutdown()


def test_a_collector_that_hangs_does_not_hold_up_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(span_export, "CLOSE_SECONDS", 0.05)
    collector.open.clear()
    provider = span_export.tracer_provider(["test"], "1")
    provider.get_tracer("test").start_span("span").end()
    span_export.close(provider)
    assert "the last spans could not be sent within 0.05 s" in caplog.text
    collector.open.set()


def test_the_environment_overrides_what_the_service_says_of_itself(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resource() -> dict[str, Any]:
        provider = span_export.tracer_provider(["test"], "1.2")
        provider.shutdown()
        return dict(provider.resource.attributes)

    plain = resource()
    assert (plain["service.name"], plain["service.version"]) == ("act-detr", "1.2")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pages")
    assert resource().items() >= {"service.name": "pages", "deployment.environment.name": "test"}.items()
