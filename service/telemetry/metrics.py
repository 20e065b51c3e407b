"""Every metric of the service: its name, labels, unit and buckets, declared once, present from the start.

A histogram is what somebody looks at by bucket (the dashboard, the rules); where means do, a summary has two series.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    Metric,
    PlatformCollector,
    ProcessCollector,
    Summary,
)
from prometheus_client.exposition import choose_encoder

from models.detections import Prediction
from service.errors import ClientClosed, all_errors

NO_ATTENTION: Final = "none"
"""Label of requests that ended before it was clear how the encoder should attend."""
ATTENTIONS: Final = ("exact", "act", "tangent")
CLUSTERING: Final = ("act", "tangent")
STAGES: Final = ("read", "wait", "decode", "preprocess", "queue", "inference", "postprocess", "draw")
"""read: the body arrives; wait: for a thread that decodes; queue: for the device."""

_REQUEST_SECONDS: Final = (
    0.005,
    0.01,
    0.02,
    0.035,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1,
    2,
    4,
    8,
    15,
    30,
    60,
)
_STAGE_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_IMAGES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_RATIO: Final = (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_GZIP_LEVEL: Final = 6
_NEVER: Final = re.compile(r"q\s*=\s*0(\.0*)?")
_POSITIONS: Final = (1, 4, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384)


class Metrics:
    """The metrics of one app, in a registry of its own. Thread-safe. All units are base units."""

    def __init__(self) -> None:
        self.registry = registry = _Registry()
        self.request_duration = Histogram(
            "act_detr_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            ("route", "attention", "status"),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "act_detr_stage_duration_seconds",
            "Time that an image spends in each stage on its way.",
            ("stage", "attention"),
            buckets=_STAGE_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "act_detr_batch_size",
            "Images that ran together.",
            ("attention",),
            buckets=_IMAGES,
            registry=registry,
        )
        self.padding_ratio = Summary(
            "act_detr_padding_ratio",
            "Share of a batch that padding to one size would add; the model itself pads nothing.",
            registry=registry,
        )
        self.ready = Gauge(
            "act_detr_ready",
            "1 while requests are taken: warmed up, not draining, the worker alive.",
            registry=registry,
        )
        self.queue_depth = Gauge("act_detr_queue_depth", "Images that wait for the device.", registry=registry)
        self.queue_limit = Gauge(
            "act_detr_queue_limit", "Most images that may wait for the device; more get a 429.", registry=registry
        )
        self.inflight = Gauge("act_detr_inflight_requests", "Detection requests that are under way.", registry=registry)
        self.rejected = Counter(
            "act_detr_rejected_total",
            "Requests answered with an error, by cause.",
            ("reason",),
            registry=registry,
        )
        self.cancelled = Counter(
            "act_detr_cancelled_total", "Requests whose caller left before the answer.", registry=registry
        )
        self.out_of_memory = Counter(
            "act_detr_out_of_memory_total", "Batches that the device had no memory for.", registry=registry
        )
        self.encoder_tokens = Histogram(
            "act_detr_encoder_tokens",
            "Positions N that the encoder attends over, per image.",
            buckets=_POSITIONS,
            registry=registry,
        )
        self.clusters = Summary(
            "act_detr_clusters",
            "Clusters C of an encoder layer that clusters, per image: the mean over its heads.",
            ("attention", "layer"),
            registry=registry,
        )
        self.cluster_ratio = Histogram(
            "act_detr_cluster_ratio",
            "C / N of an encoder layer that clusters, per image.",
            ("attention", "layer"),
            buckets=_RATIO,
            registry=registry,
        )
        self.tangent_centres = Summary(
            "act_detr_tangent_centres",
            "Points of a head at which tangent attention takes tangents, per image.",
            registry=registry,
        )
        self.detections = Counter(
            "act_detr_detections_total", "Detections returned, by class.", ("label",), registry=registry
        )
        self.images = Counter(
            "act_detr_images_total",
            "Images answered, by encoder attention.",
            ("attention",),
            registry=registry,
        )
        self.model = Info("act_detr_model", "The model that is served.", registry=registry)
        self.device_memory = Gauge(
            "act_detr_device_memory_bytes", "Memory that the model's device has allocated.", registry=registry
        )
        self.device_memory_limit = Gauge(
            "act_detr_device_memory_limit_bytes",
            "Memory that the model's device has in all; 0 on a CPU, which has none of its own.",
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._show_bounded_labels()

    def _show_bounded_labels(self) -> None:
        """Make the series appear whose labels are known already, so that no panel starts out empty."""
        for attention in ATTENTIONS:
            self.batch_size.labels(attention)
            self.images.labels(attention)
            for stage in STAGES:
                self.stage_duration.labels(stage, attention)
            for route in ("/detect", "/detect/batch"):
                self.request_duration.labels(route, attention, "200")
        for cause in all_errors():
            if cause is not ClientClosed:
                self.rejected.labels(cause.type)

    def describe_model(self, facts: dict[str, str], labels: Iterable[str], encoder_layers: int) -> None:
        """Publish the model's facts, and the series of its classes and encoder layers."""
        self.model.info(facts)
        for label in labels:
            self.detections.labels(label)
        for attention in CLUSTERING:
            for layer in range(encoder_layers):
                self.clusters.labels(attention, str(layer))
                self.cluster_ratio.labels(attention, str(layer))

    def describe_limits(self, queue: int, device_memory_bytes: int) -> None:
        """Publish how many images may wait, and the device's memory in all, in bytes; 0 for one without its own."""
        self.queue_limit.set(queue)
        self.device_memory_limit.set(device_memory_bytes)

    def watch_device(self, memory_bytes: Callable[[], int]) -> None:
        """Ask for the device's memory, in bytes, whenever the metrics are read."""
        self.device_memory.set_function(memory_bytes)

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Ask whether requests are taken whenever the metrics are read."""
        self.ready.set_function(lambda: float(ready()))

    def observe_stages(self, seconds: Mapping[str, float], attention: str) -> None:
        """Count the stages of one answered image, in seconds."""
        for stage, value in seconds.items():
            self.stage_duration.labels(stage, attention).observe(value)

    def observe_prediction(self, prediction: Prediction, labels: Iterable[str]) -> None:
        """Count one answered image: its tokens, its clusters, and the classes of the detections returned."""
        report = prediction.attention
        self.images.labels(report.config.mode).inc()
        self.encoder_tokens.observe(report.tokens)
        for layer in report.clusters:
            labelled = (report.config.mode, str(layer.layer))
            self.clusters.labels(*labelled).observe(layer.mean)
            self.cluster_ratio.labels(*labelled).observe(layer.mean / max(1, report.tokens))
        if report.config.mode == "tangent":
            centres = report.config.C if report.config.centres is None else report.config.centres
            self.tangent_centres.observe(min(centres, report.tokens))
        for label in labels:
            self.detections.labels(label).inc()

    def render(self, accept: str, accept_encoding: str = "") -> tuple[bytes, dict[str, str]]:
        """Return the exposition and its headers: OpenMetrics where `accept` asks for it, else text.

        Gzipped where `accept_encoding`, the request's header, allows gzip by name.
        """
        encode, media_type = choose_encoder(accept)
        headers = {"Content-Type": media_type, "Vary": "Accept, Accept-Encoding"}
        body = encode(self.registry)
        if not _allows_gzip(accept_encoding):
            return body, headers
        return gzip.compress(body, _GZIP_LEVEL, mtime=0), headers | {"Content-Encoding": "gzip"}


class _Registry(CollectorRegistry):
    """Leaves out when each series was made: Prometheus does not ask, and it is a series more for every series."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        for family in super().collect():
            family.samples = [row for row in family.samples if not row.name.endswith("_created")]
            yield family


def _allows_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        name, *options = (part.strip() for part in choice.split(";"))
        if name == "gzip":
            return not any(_NEVER.fullmatch(option) for option in options)
    return False


class WorkerMetrics:
    """What the inference worker reports (its WorkerObserver), as metrics. Keys are attention configs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def on_queue_depth(self, n: int) -> None:
        """`n` images wait."""
        self._metrics.queue_depth.set(n)

    def on_batch(
        self,
        key: object,
        size: int,
        padding_ratio: float,
        queue_seconds: Sequence[float],
        inference_seconds: float,
    ) -> None:
        """One batch ran."""
        attention = str(getattr(key, "mode", NO_ATTENTION))
        self._metrics.batch_size.labels(attention).observe(size)
        self._metrics.padding_ratio.observe(padding_ratio)

    def on_cancelled(self) -> None:
        """A waiting image was dropped because its caller left: counted where the request ends."""

    def on_deadline(self) -> None:
        """A waiting image was dropped because its deadline passed: counted where the request is answered."""

    def on_out_of_memory(self, key: object, size: int) -> None:
        """A batch of `size` images did not fit into the device's memory."""
        self._metrics.out_of_memory.inc()
