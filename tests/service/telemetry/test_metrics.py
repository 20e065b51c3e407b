from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

import deploy
from models.attention_config import AttentionConfig
from service.errors import all_errors
from service.telemetry.metrics import STAGES, Metrics

DEPLOY = Path(deploy.__file__).parent
FAMILIES = {
    "act_detr_request_duration_seconds",
    "act_detr_stage_duration_seconds",
    "act_detr_batch_size",
    "act_detr_padding_ratio",
    "act_detr_ready",
    "act_detr_queue_depth",
    "act_detr_inflight_requests",
    "act_detr_rejected",
    "act_detr_cancelled",
    "act_detr_encoder_tokens",
    "act_detr_clusters",
    "act_detr_cluster_ratio",
    "act_detr_detections",
    "act_detr_images",
    "act_detr_auto_images",
    "act_detr_auto_attention_seconds",
    "act_detr_model",
    "act_detr_device_memory_bytes",
    "act_detr_device_memory_limit_bytes",
    "act_detr_queue_limit",
    "act_detr_queue_wait_seconds",
    "act_detr_prediction_ratio",
    "act_detr_out_of_memory",
}


def test_every_series_is_there_before_the_first_request(start: Any) -> None:
    with start(max_queue=17) as server:
        families = {family.name: family for family in server.service.metrics.registry.collect()}
        assert set(families) >= FAMILIES
        assert all(families[name].samples for name in FAMILIES)
        reasons = {row.labels["reason"] for row in families["act_detr_rejected"].samples}
        assert reasons == {cause.type for cause in all_errors()} - {"client-closed"}
        stages = {row.labels["stage"] for row in families["act_detr_stage_duration_seconds"].samples}
        assert stages == set(STAGES)
        assert {row.labels["layer"] for row in families["act_detr_clusters"].samples} == set("012345")
        assert server.metric("act_detr_device_memory_bytes") == 1234
        assert server.metric("act_detr_device_memory_limit_bytes") == 5678
        assert server.metric("act_detr_queue_limit") == 17
        facts = families["act_detr_model"].samples[0].labels
        assert (facts["name"], facts["device"], facts["precision"]) == ("fake", "cpu", "fp32")


def test_requests_are_counted_before_their_response_ends(start: Any, png: bytes) -> None:
    with start() as server:
        for attention in ("exact", "act", "act"):
            server.client.post(f"/detect?attention={attention}", content=png)
        server.client.post("/detect?attention=exact", content=b"junk")
        server.client.post("/detect?L=2", content=png)
        server.client.post("/detect/batch?attention=act", files=[("image", png), ("image", b"junk")])
        metric, count = server.metric, "act_detr_request_duration_seconds_count"
        assert metric(count, route="/detect", attention="act", status="200") == 2
        assert metric(count, route="/detect", attention="exact", status="415") == 1
        assert metric(count, route="/detect", attention="none", status="422") == 1
        assert metric("act_detr_rejected_total", reason="unsupported-image-type") == 2
        assert metric("act_detr_images_total", attention="act") == 3
        assert metric("act_detr_images_total", attention="exact") == 1
        assert metric("act_detr_detections_total", label="figure") == 4
        assert metric("act_detr_encoder_tokens_sum") == 4 * 2400
        assert metric("act_detr_clusters_sum", attention="act", layer="5") == 3 * 16
        assert metric("act_detr_cluster_ratio_count", attention="act", layer="0") == 3
        for stage in ("decode", "preprocess", "queue", "inference", "postprocess"):
            assert metric("act_detr_stage_duration_seconds_count", stage=stage, attention="act") == 3
        assert server.idle()


def test_the_share_of_clusters_is_of_the_tokens_that_are_left_after_merging(start: Any, png: bytes) -> None:
    with start() as server:
        server.client.post("/detect?attention=merge&ratio=0.5&C=8", content=png)
        assert server.metric("act_detr_encoder_tokens_sum") == 2400
        assert server.metric("act_detr_merged_tokens_sum") == 1200
        clusters = server.metric("act_detr_clusters_sum", attention="merge", layer="0")
        assert clusters > 0
        assert server.metric("act_detr_cluster_ratio_sum", attention="merge", layer="0") == clusters / 1200


def test_auto_counts_what_it_chose_and_shows_the_times_it_chose_by(start: Any, encoded: Any) -> None:
    with start() as server:
        for attention, side in (("auto", 30), ("auto", 60), ("auto", 60), ("exact", 60)):
            image = encoded(size=(side, side))
            assert server.client.post(f"/detect?attention={attention}", content=image).status_code == 200
        chosen = {mode: server.metric("act_detr_auto_images_total", attention=mode) for mode in ("exact", "tangent")}
        assert chosen == {"exact": 1, "tangent": 2}
        assert server.metric("act_detr_images_total", attention="exact") == 2
        assert server.metric("act_detr_auto_attention_seconds", setting="tangent:C=16", tokens="4000") == 0.008
        assert server.metric("act_detr_auto_attention_seconds", setting="exact", tokens="4000") == 0.016


def test_metrics_are_openmetrics_on_request(service: Any) -> None:
    plain = service.client.get("/metrics")
    modern = service.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.rstrip().endswith("# EOF")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        (["gzip"], True),
        (["gzip, deflate, br"], True),
        (["br", "GZIP;q=0.5"], True),
        (["identity"], False),
        ([], False),
        (["*"], False),
        (["gzip;q=0"], False),
        (["br, gzip ; q=0.000"], False),
        (["gzipped"], False),
    ],
)
def test_metrics_are_gzipped_on_request(service: Any, accept: str, accepted: list[str], packed: bool) -> None:
    lines = [b"GET /metrics HTTP/1.1", b"Host: x", b"Connection: close", b"Accept: " + accept.encode()]
    lines += [b"Accept-Encoding: " + value.encode() for value in accepted]
    head, _, body = service.raw(b"\r\n".join([*lines, b"", b""])).partition(b"\r\n\r\n")
    assert (b"content-encoding: gzip" in head.lower()) == packed
    assert b"vary: accept, accept-encoding" in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()
    text = gzip.decompress(body) if packed else body
    assert b"act_detr_ready 1.0" in text
    assert (b"openmetrics-text" in head) == text.endswith(b"# EOF\n") == bool(accept)
    assert not packed or len(body) < len(text) / 5


def test_labels_stay_bounded_whatever_callers_send(start: Any, png: bytes) -> None:
    with start() as server:
        before = server.client.get("/metrics").text.count("\n")
        for index in range(5):
            server.client.post(f"/detect?attention=act&L={index + 1}&r={index + 0.5}", content=png)
            server.client.get(f"/nowhere/{index}")
            server.client.get(f"/static/{index}")
        lines = server.client.get("/metrics").text.count("\n") - before
        assert lines <= 3 * 21  # three new series of one histogram: two kinds of 404, and /metrics itself


def test_every_histogram_is_read_by_bucket(service: Any) -> None:
    """A histogram has many series; a summary would do for means."""
    queries = "".join(
        file.read_text()
        for file in (DEPLOY / "grafana/dashboards/act-detr.json", DEPLOY / "prometheus/rules/recording.yml")
    )
    families = list(service.service.metrics.registry.collect())
    histograms = {family.name for family in families if family.type == "histogram"}
    assert histograms == {name for name in histograms if f"{name}_bucket" in queries}


def test_creation_times_are_no_series(service: Any) -> None:
    for accept in ("text/plain", "application/openmetrics-text"):
        assert "_created" not in service.client.get("/metrics", headers={"accept": accept}).text


def test_apps_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.cancelled.inc()
    assert second.registry.get_sample_value("act_detr_cancelled_total") == 0


def test_worker_reports_become_metrics() -> None:
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    metrics.on_queue_depth(3)
    metrics.on_batch(AttentionConfig.act(), 4, 0.25, seconds=0.3, predicted=0.2)
    metrics.on_batch(AttentionConfig.exact(), 1, 0, seconds=0.3, predicted=0)
    metrics.on_out_of_memory()
    assert value("act_detr_queue_depth") == 3
    assert value("act_detr_batch_size_sum", {"attention": "act"}) == 4
    assert value("act_detr_padding_ratio_sum") == 0.25
    assert value("act_detr_prediction_ratio_sum") == pytest.approx(1.5)
    assert value("act_detr_prediction_ratio_count") == 1
    assert value("act_detr_out_of_memory_total") == 1
