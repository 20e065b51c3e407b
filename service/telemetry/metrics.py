"""The metrics of the service: names, labels, units and buckets, declared once and present from the start.

Metrics that the dashboard or the rules read by bucket are histograms; where a mean is enough, a summary has two series.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Literal, get_args

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

from models import AutoAttention
from models.detector import Detector
from models.matching import Matching
from service.errors import ClientClosed, all_errors
from service.telemetry.request_record import NO_ATTENTION, DetectedImage, RequestRecord, Stopwatch

APPROXIMATE: Final = ("act", "tangent", "merge")
ATTENTIONS: Final = ("exact", *APPROXIMATE)
CLUSTERING: Final = ("act", "tangent")
"""Modes that always cluster; merge does if it is asked for clusters."""
STAGES: Final = ("read", "wait", "decode", "preprocess", "queue", "inference", "postprocess", "draw")
"""read: the body arrives; wait: for a decoding thread; queue: for the device."""

ShadowDrop = Literal["full", "gave-way", "tiles", "out-of-memory", "failed", "draining"]
SHADOW_DROPS: Final = get_args(ShadowDrop)
"""full: dropped for a later image; gave-way: to a request; tiles: images that were cut are not compared."""

_REQUEST_SECONDS: Final = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_STAGE_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_IMAGES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_PREDICTION: Final = (0.25, 0.5, 0.67, 0.8, 0.9, 1.1, 1.25, 1.5, 2, 4, 8)
_RATIO: Final = (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_TOKENS: Final = (1, 4, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384)
_IOU: Final = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1)
_DRIFT: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_GZIP_LEVEL: Final = 6
_REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?")


class Metrics:
    """The metrics of one app, in a registry of its own. Thread-safe. All units are base units."""

    def __init__(self) -> None:
        self.registry = registry = _Registry()
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        summary = partial(Summary, registry=registry)
        histogram = partial(Histogram, registry=registry)

        self.request_duration = histogram(
            "act_detr_request_duration_seconds",
            "Time from a request's headers to the end of its response.",
            ("route", "attention", "status"),
            buckets=_REQUEST_SECONDS,
        )
        self.stage_duration = histogram(
            "act_detr_stage_duration_seconds",
            "Time that an image spends in each stage.",
            ("stage", "attention"),
            buckets=_STAGE_SECONDS,
        )
        self.batch_size = histogram("act_detr_batch_size", "Images that ran together.", ("attention",), buckets=_IMAGES)
        self.padding_ratio = summary(
            "act_detr_padding_ratio",
            "Share of a batch's pixels that padding to one size would add; the model itself pads nothing.",
        )
        self.ready = gauge(
            "act_detr_ready", "1 while requests are taken: warmed up, not draining, and the worker alive."
        )
        self.queue_depth = gauge("act_detr_queue_depth", "Images that wait for the device.")
        self.queue_limit = gauge(
            "act_detr_queue_limit", "Maximum number of images that wait for the device; further ones get a 429."
        )
        self.queue_wait = gauge(
            "act_detr_queue_wait_seconds",
            "Predicted time until an image that arrives now would begin to run, by the cost of those before it.",
        )
        self.prediction_ratio = histogram(
            "act_detr_prediction_ratio",
            "Device time of a batch over the time that was predicted for it.",
            buckets=_PREDICTION,
        )
        self.inflight = gauge("act_detr_inflight_requests", "Detection requests under way.")
        self.rejected = counter("act_detr_rejected_total", "Requests answered with an error, by type.", ("reason",))
        self.cancelled = counter("act_detr_cancelled_total", "Requests whose client disconnected before the response.")
        self.out_of_memory = counter(
            "act_detr_out_of_memory_total", "Batches that did not fit into the device's memory."
        )
        self.encoder_tokens = histogram(
            "act_detr_encoder_tokens", "Tokens N that the encoder gets, per image or tile.", buckets=_TOKENS
        )
        self.merged_tokens = summary(
            "act_detr_merged_tokens", "Tokens that were left after merging, per image or tile with merge."
        )
        self.clusters = summary(
            "act_detr_clusters",
            "Clusters C of a clustering encoder layer, per image: the mean over its heads.",
            ("attention", "layer"),
        )
        self.cluster_ratio = histogram(
            "act_detr_cluster_ratio",
            "C / N of a clustering encoder layer, per image; N is what it attends over, after merging.",
            ("attention", "layer"),
            buckets=_RATIO,
        )
        self.detections = counter("act_detr_detections_total", "Detections returned, by class.", ("label",))
        self.images = counter("act_detr_images_total", "Images answered, by attention mode.", ("attention",))
        self.auto_images = counter(
            "act_detr_auto_images_total",
            "Images answered whose attention mode `auto` chose, by that mode.",
            ("attention",),
        )
        self.rung = gauge(
            "act_detr_rung",
            "Present rung of the ladder that makes images cheaper under load; 0 without load or without a ladder.",
        )
        self.rung_images = counter(
            "act_detr_rung_images_total",
            "Images answered whose rung the ladder chose, by that rung; 0 is as without load.",
            ("rung",),
        )
        self.auto_attention_seconds = gauge(
            "act_detr_auto_attention_seconds",
            "Measured time of the encoder for one image, by settings and tokens: what `auto` chooses by.",
            ("setting", "tokens"),
        )
        self.shadow_images = counter(
            "act_detr_shadow_images_total",
            "Images that were compared with exact attention, by the attention mode that they had run with.",
            ("attention",),
        )
        self.shadow_iou = histogram(
            "act_detr_shadow_matched_iou",
            "IoU of a detection by exact attention and the one that the request got in its place.",
            ("attention",),
            buckets=_IOU,
        )
        self.shadow_score_drift = histogram(
            "act_detr_shadow_score_drift",
            "Absolute difference of the scores of two such detections.",
            ("attention",),
            buckets=_DRIFT,
        )
        self.shadow_missed = counter(
            "act_detr_shadow_missed_detections_total",
            "Detections by exact attention that the request did not get.",
            ("attention",),
        )
        self.shadow_extra = counter(
            "act_detr_shadow_extra_detections_total",
            "Detections that the request got and exact attention does not give.",
            ("attention",),
        )
        self.shadow_dropped = counter(
            "act_detr_shadow_dropped_total",
            "Images chosen for a comparison that were not compared, by reason.",
            ("attention", "reason"),
        )
        self.shadow_seconds = counter(
            "act_detr_shadow_device_seconds_total",
            "Otherwise idle device time that comparisons took, also those that gave way to a request.",
            ("attention",),
        )
        self.model = Info("act_detr_model", "The model that is served.", registry=registry)
        self.device_memory = gauge("act_detr_device_memory_bytes", "Memory allocated on the model's device.")
        self.device_memory_limit = gauge(
            "act_detr_device_memory_limit_bytes",
            "Total memory of the model's device; 0 on a CPU, which has none of its own.",
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._create_bounded_series()

    def _create_bounded_series(self) -> None:
        """Create the series whose labels are known already, so that no panel starts out empty."""
        for attention in ATTENTIONS:
            self.batch_size.labels(attention)
            self.images.labels(attention)
            self.auto_images.labels(attention)
            for stage in STAGES:
                self.stage_duration.labels(stage, attention)
            for route in ("/detect", "/detect/batch", "/compare", "/v2/models/{name}/infer"):
                self.request_duration.labels(route, attention, "200")
        for cause in all_errors():
            if cause is not ClientClosed:
                self.rejected.labels(cause.type)

    def describe(
        self,
        detector: Detector,
        version: str,
        max_queue: int,
        ready: Callable[[], bool],
        queue_wait: Callable[[], float],
    ) -> None:
        """Publish the model, the series of its classes and layers, the limits, and what is read on each scrape."""
        self.model.info(
            {
                "name": detector.name,
                "device": detector.device,
                "precision": detector.precision,
                "version": version,
                "family": detector.family.name,
                "engine": detector.family.engine,
            }
        )
        for label in detector.labels:
            self.detections.labels(label)
        for attention in CLUSTERING if detector.family.clusters else ():
            for layer in range(detector.config.encoder_layers):
                self.clusters.labels(attention, str(layer))
                self.cluster_ratio.labels(attention, str(layer))
        self.queue_limit.set(max_queue)
        self.device_memory_limit.set(detector.memory_limit_bytes())
        self.device_memory.set_function(detector.memory_bytes)
        self.ready.set_function(lambda: float(ready()))
        self.queue_wait.set_function(queue_wait)

    def describe_ladder(self, rungs: int, rung: Callable[[], float]) -> None:
        """Publish the present rung, read on each scrape, and the series of rung 0 and `rungs` others."""
        self.rung.set_function(rung)
        for one in range(rungs + 1):
            self.rung_images.labels(str(one))

    def describe_auto(self, auto: AutoAttention) -> None:
        """Publish the times that `auto` chooses by."""
        if auto.times is None:
            return
        for attention, milliseconds in auto.times.milliseconds.items():
            for tokens, time in zip(auto.times.tokens, milliseconds, strict=True):
                self.auto_attention_seconds.labels(str(attention), str(tokens)).set(time / 1e3)

    def describe_shadows(self) -> None:
        """Create the series of comparisons with exact attention, which a service has that makes some."""
        for attention in APPROXIMATE:
            for family in (
                self.shadow_images,
                self.shadow_iou,
                self.shadow_score_drift,
                self.shadow_missed,
                self.shadow_extra,
                self.shadow_seconds,
            ):
                family.labels(attention)
            for reason in SHADOW_DROPS:
                self.shadow_dropped.labels(attention, reason)

    def on_shadow(self, attention: str, matching: Matching) -> None:
        """An image was compared: on the left what exact attention gives, on the right what a request got."""
        self.shadow_images.labels(attention).inc()
        for pair in matching.pairs:
            self.shadow_iou.labels(attention).observe(pair.iou)
            self.shadow_score_drift.labels(attention).observe(abs(pair.score_difference))
        self.shadow_missed.labels(attention).inc(len(matching.only_left))
        self.shadow_extra.labels(attention).inc(len(matching.only_right))

    def on_shadow_dropped(self, attention: str, reason: ShadowDrop) -> None:
        """An image that was chosen is not compared."""
        self.shadow_dropped.labels(attention, reason).inc()

    def on_shadow_time(self, attention: str, seconds: float) -> None:
        """A comparison took so much device time, whether it came to its end or not."""
        self.shadow_seconds.labels(attention).inc(seconds)

    def observe_request(self, record: RequestRecord, route: str, status: int) -> None:
        """Count a finished request: its time and error, and the stages and results of its images."""
        duration = self.request_duration.labels(route, record.attention, str(status))
        duration.observe(record.elapsed, record.exemplar)
        if status == ClientClosed.status:
            self.cancelled.inc()
        elif record.error is not None:
            self.rejected.labels(record.error).inc()
        for error in record.image_errors:
            self.rejected.labels(error).inc()
        self._observe_stages(record.stopwatch, record.attention, record.exemplar)
        for image in record.images:
            self._observe_image(image, record.exemplar)

    def _observe_image(self, image: DetectedImage, exemplar: dict[str, str] | None) -> None:
        report = image.prediction.attention
        self._observe_stages(image.stopwatch, image.attention, exemplar)
        self.images.labels(image.attention).inc()
        if image.auto:
            self.auto_images.labels(image.attention).inc()
        if image.rung is not None:
            self.rung_images.labels(str(image.rung)).inc()
        for _ in range(len(image.tiling)):
            self.encoder_tokens.observe(report.tokens)
            if report.merged_tokens is not None:
                self.merged_tokens.observe(report.merged_tokens)
        attended = report.tokens if report.merged_tokens is None else report.merged_tokens
        for layer in report.clusters:
            labels = (image.attention, str(layer.layer))
            self.clusters.labels(*labels).observe(layer.mean)
            self.cluster_ratio.labels(*labels).observe(layer.mean / max(1, attended))
        for label in image.detections.labels:
            self.detections.labels(label).inc()

    def _observe_stages(self, stopwatch: Stopwatch, attention: str, exemplar: dict[str, str] | None) -> None:
        for stage, seconds in stopwatch.seconds.items():
            self.stage_duration.labels(stage, attention).observe(seconds, exemplar)

    def on_queue_depth(self, n: int) -> None:
        """`n` images wait. This and the following make it the inference worker's observer."""
        self.queue_depth.set(n)

    def on_batch(self, key: object, size: int, padding_ratio: float, seconds: float, predicted: float) -> None:
        """One batch of `size` images ran; `key` is its attention config, `predicted` 0 if nothing was known."""
        self.batch_size.labels(getattr(key, "mode", NO_ATTENTION)).observe(size)
        self.padding_ratio.observe(padding_ratio)
        if predicted > 0:
            self.prediction_ratio.observe(seconds / predicted)

    def on_out_of_memory(self) -> None:
        """A batch did not fit into the device's memory."""
        self.out_of_memory.inc()

    def render(self, accept: str, accept_encoding: str = "") -> tuple[bytes, dict[str, str]]:
        """Return the exposition and its headers, as OpenMetrics if the header `accept` asks for it, else as text.

        It is gzipped if the header `accept_encoding` names gzip.
        """
        encode, media_type = choose_encoder(accept)
        headers = {"Content-Type": media_type, "Vary": "Accept, Accept-Encoding"}
        body = encode(self.registry)
        if not _allows_gzip(accept_encoding):
            return body, headers
        return gzip.compress(body, _GZIP_LEVEL, mtime=0), headers | {"Content-Encoding": "gzip"}


class _Registry(CollectorRegistry):
    """Omits the `_created` series: nothing reads them, and they would double the number of series."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        for family in super().collect():
            family.samples = [row for row in family.samples if not row.name.endswith("_created")]
            yield family


def _allows_gzip(accept_encoding: str) -> bool:
    for choice in accept_encoding.lower().split(","):
        name, *options = (part.strip() for part in choice.split(";"))
        if name == "gzip":
            return not any(_REFUSED.fullmatch(option) for option in options)
    return False
