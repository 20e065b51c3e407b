"""A real process with the standard variables sends its spans to a collector: OTLP over HTTP, decoded here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_server import free_port

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs pip install '.[otel]'")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["read", "wait", "decode", "preprocess", "queue", "inference", "postprocess"]


class Collector:
    """Takes spans at /v1/traces. `headers` are those of the last export."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resource: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.resource = {row.key: row.value.string_value for row in resource.resource.attributes}
                    collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                collector.headers = dict(self.headers)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Any) -> list[Any]:
        """Return the children of a span, as they began."""
        children = [span for span in self.spans if span.parent_span_id == parent.span_id]
        return sorted(children, key=lambda span: span.start_time_unix_nano)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {row.key: getattr(row.value, row.value.WhichOneof("value")) for row in span.attributes}


@pytest.fixture
def serving(
    checkpoint: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> Callable[..., AbstractContextManager[httpx.Client]]:
    """Return a function (settings, **variables) that runs a process, and gives a client; its log is in `tmp_path`.

    Leaving it sends SIGTERM, and sees it end with status 0.
    """

    @contextmanager
    def run(settings: dict[str, str], **variables: str) -> Iterator[httpx.Client]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ACT_DETR_", "OTEL_"))}
        port = free_port()
        ours = {"MODEL": str(checkpoint), "DEVICE": "cpu", "PORT": str(port), "THREADS": "1", "ATTENTION": "exact"}
        environment = plain | {f"ACT_DETR_{name}": value for name, value in (ours | settings).items()} | variables
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-m", "service"]
            with subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stderr=log) as process:
                try:
                    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
                        wait_until(lambda: process.poll() is not None or ready(client), 120)
                        yield client
                        process.terminate()
                        assert process.wait(60) == 0
                finally:
                    if process.poll() is None:
                        process.kill()

    return run


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def log_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_spans_arrive_with_the_callers_parent_the_answers_times_and_their_batch(
    serving: Any, collector: Collector, encoded: Callable[..., bytes], tmp_path: Path
) -> None:
    image = encoded()
    batching = {"MAX_BATCH": "2", "MAX_DELAY_MS": "10000"}
    began = time.time_ns()
    with (
        serving(
            batching, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-key=secret"
        ) as client,
        ThreadPoolExecutor(2) as pool,
    ):

        def call(name: str, caller: dict[str, str]) -> Any:
            return client.post("/detect", content=image, headers={"x-request-id": name} | caller)

        theirs = pool.submit(call, "theirs", {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"})
        alone = pool.submit(call, "alone", {})
        answers = {"theirs": theirs.result(), "alone": alone.result()}
        assert [answer.json()["batch_size"] for answer in answers.values()] == [2, 2]
        assert client.post("/detect?L=2", content=image).status_code == 422
    ended = time.time_ns()
    assert collector.headers["x-key"] == "secret"
    assert collector.resource["service.name"] == "act-detr"

    requests = {attributes(span)["act_detr.request_id"]: span for span in collector.named("POST /detect")}
    assert (requests["theirs"].trace_id.hex(), requests["theirs"].parent_span_id.hex()) == (TRACE, CALLER)
    assert requests["theirs"].trace_state == "vendor=1"
    assert requests["alone"].parent_span_id == b""
    (batch,) = collector.named("batch")
    assert {link.span_id for link in batch.links} == {requests[name].span_id for name in answers}
    for name, answer in answers.items():
        request = requests[name]
        assert request.kind == Span.SPAN_KIND_SERVER
        assert began <= request.start_time_unix_nano <= request.end_time_unix_nano <= ended
        stages = [span for span in collector.below(request) if span.name != "batch"]
        assert [span.name for span in stages] == STAGES
        assert {span.trace_id for span in stages} == {request.trace_id}
        took = {span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 for span in stages}
        timing = answer.json()["timing_ms"]
        timing.pop("total")
        assert {stage: took[stage] for stage in timing} == pytest.approx(timing, abs=0.0011)
        (inference,) = [span for span in stages if span.name == "inference"]
        assert [link.span_id for link in inference.links] == [batch.span_id]

    (refused,) = set(requests) - set(answers)
    assert attributes(requests[refused])["error.type"] == "bad-parameter"
    assert requests[refused].status.code == Status.STATUS_CODE_UNSET
    lines = {line["request_id"]: line for line in log_lines(tmp_path) if line.get("route") == "/detect"}
    ids = {name: (line["trace_id"], line["span_id"]) for name, line in lines.items()}
    assert ids == {name: (span.trace_id.hex(), span.span_id.hex()) for name, span in requests.items()}


def test_sampling_and_names_follow_the_standard_variables(
    serving: Any, collector: Collector, encoded: Callable[..., bytes]
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "OTEL_SERVICE_NAME": "pages",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    with serving({}, **variables) as client:
        for headers in ({}, {"traceparent": f"00-{TRACE}-{CALLER}-01"}, {"traceparent": "00-junk"}):
            assert client.post("/detect", content=encoded(), headers=headers).status_code == 200
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert len(collector.spans) == 1 + len(STAGES) + 1
    wanted = {"service.name": "pages", "deployment.environment.name": "test"}
    assert collector.resource.items() >= wanted.items()


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
def test_prometheus_leads_from_a_latency_to_the_trace(
    start: Any, encoded: Callable[..., bytes], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    from service.telemetry.spans import SpanTracer

    with start(tracer=SpanTracer(TracerProvider(shutdown_on_exit=False))) as server:
        caller = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        assert server.client.post("/detect", content=encoded(), headers=caller).status_code == 200
        job = {"job_name": "act-detr", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
        ]

        def exemplars() -> set[str]:
            query = {
                "query": "act_detr_request_duration_seconds_bucket",
                "start": time.time() - 600,
                "end": time.time() + 60,
            }
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query_exemplars", params=query, trust_env=False)
            except httpx.TransportError:
                return set()
            if answer.status_code != 200:  # it listens before it is ready
                return set()
            found = answer.json().get("data", [])
            return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as prometheus:
            try:
                wait_until(lambda: exemplars() == {TRACE}, 60)
            finally:
                prometheus.kill()


def test_a_collector_that_is_down_changes_nothing_but_a_line_in_the_log(
    serving: Any, encoded: Callable[..., bytes], tmp_path: Path
) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    with serving({}, OTEL_EXPORTER_OTLP_ENDPOINT=down, OTEL_BSP_SCHEDULE_DELAY="20") as client:
        for _ in range(20):
            assert client.post("/detect", content=encoded()).status_code == 200
    troubles = [line["message"] for line in log_lines(tmp_path) if line["level"] in ("warning", "error")]
    assert 1 <= len(troubles) <= 3
    assert len(set(troubles)) == len(troubles)
