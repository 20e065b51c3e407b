"""Shadows of a fake detector, run by hand; what chooses images is injected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.detections import Detections
from models.detector import DeviceOutOfMemory
from service import shadows as module
from service.detection_options import DetectionOptions
from service.errors import WorkerDead
from service.pipeline import PreparedTiles, prepare
from service.shadows import Shadows
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now

IMAGE = np.full((40, 60, 3), 128, np.uint8)
TANGENT = AttentionConfig.tangent(16)


def options(**changes: Any) -> DetectionOptions:
    plain = DetectionOptions(
        attention=TANGENT,
        reason="asked for",
        size=352,
        tiles=None,
        max_tiles=8,
        threshold=0.5,
        max_detections=100,
        nms=None,
        labels=None,
        masks=None,
        deadline=now() + 60,
    )
    return replace(plain, **changes)


class Bench:
    """Shadows and their metrics; a request is under way while `quiet` is False, and needs the thread if `crowded`."""

    def __init__(self, detector: Any, rate: float = 1.0, draws: Iterator[float] | None = None) -> None:
        self.detector = detector
        self.metrics = Metrics()
        self.quiet, self.crowded = True, False
        draw: Callable[[], float] = (lambda: next(draws)) if draws else lambda: 0.0
        self.shadows = Shadows(detector, rate, 0.5, self.metrics, lambda: self.quiet, lambda: self.crowded, draw)

    def answer(self, asked: DetectionOptions | None = None, change: Callable[[Any], None] = lambda _: None) -> None:
        """Answer an image as the pipeline does, after a change to what was detected in it."""
        asked = asked or options()
        prepared: PreparedTiles = prepare(self.detector, IMAGE, asked)
        thresholds = [task.threshold for task in prepared.tasks]
        images = [task.image for task in prepared.tasks]
        masks = [task.masks for task in prepared.tasks]
        predictions = self.detector.predict(images, prepared.tasks[0].attention, thresholds, masks)
        _, detections = prepared.merged(predictions, asked)
        change(detections)
        self.shadows.offer(prepared.tasks, asked, detections)

    def value(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"act_detr_shadow_{name}", {"attention": "tangent"} | labels)
        return value or 0.0


@pytest.fixture
def bench(detector: Any) -> Bench:
    return Bench(detector)


def worse(detections: Detections) -> None:
    """Of two detections, the first loses half of its width and a fifth of its score, the second its place."""
    detections.boxes_xyxy[0, 2] *= 0.6
    detections.scores[0] -= 0.2
    detections.boxes_xyxy[1] += 1000


def test_an_image_is_compared_with_what_exact_attention_gives(bench: Bench) -> None:
    bench.answer(change=worse)
    assert bench.shadows.ready
    bench.shadows.run()
    assert bench.detector.batches[-1] == (1, AttentionConfig.exact())
    assert bench.value("images_total") == 1
    assert (bench.value("matched_iou_count"), bench.value("matched_iou_sum")) == (1, pytest.approx(0.6, abs=1e-3))
    assert bench.value("score_drift_sum") == pytest.approx(0.2, abs=1e-6)
    assert (bench.value("missed_detections_total"), bench.value("extra_detections_total")) == (1, 1)
    assert bench.value("device_seconds_total") > 0
    assert not bench.shadows.ready


def test_images_are_chosen_by_the_rate_and_only_approximate_ones(detector: Any) -> None:
    bench = Bench(detector, 0.25, iter([0.24, 0.25, 0.9, 0.0]))
    bench.answer(options(attention=AttentionConfig.exact()))  # draws no number
    for _ in range(4):
        bench.answer()
    for _ in range(2):
        assert bench.shadows.ready
        bench.shadows.run()
    assert not bench.shadows.ready


def test_detections_below_both_thresholds_are_not_compared(bench: Bench) -> None:
    for threshold in (0.0, 0.7):
        bench.answer(options(threshold=threshold))
        bench.shadows.run()
    assert bench.value("matched_iou_count") == 2 + 1  # of three, one has a score of 0.1 and one of 0.63


def test_what_the_request_left_out_is_not_compared(bench: Bench) -> None:
    bench.answer(options(labels=frozenset({"text"})))
    bench.shadows.run()
    bench.answer(options(max_detections=1))
    bench.shadows.run()
    assert bench.value("matched_iou_count") == 2
    assert bench.value("missed_detections_total") == bench.value("extra_detections_total") == 0


def test_masks_are_neither_kept_nor_computed(bench: Bench) -> None:
    bench.detector.mask_refusal = None
    bench.answer(options(masks="rle"))
    (kept,) = bench.shadows._waiting
    assert kept.detections.masks is None
    assert not kept.task.masks
    bench.shadows.run()
    assert bench.value("images_total") == 1


def test_none_starts_while_a_request_is_under_way(bench: Bench) -> None:
    bench.answer()
    bench.quiet = False
    assert not bench.shadows.ready
    bench.quiet = True
    assert bench.shadows.ready


def test_one_that_runs_gives_way_to_a_request(bench: Bench) -> None:
    bench.answer()
    bench.crowded = True
    bench.shadows.run()
    assert bench.value("dropped_total", reason="gave-way") == 1
    assert bench.value("images_total") == 0
    assert bench.value("device_seconds_total") > 0


def test_the_number_that_waits_is_bounded_and_the_oldest_are_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SHADOWS", 2)
    for threshold in (0.5, 0.6, 0.7):
        bench.answer(options(threshold=threshold))
    assert bench.value("dropped_total", reason="full") == 1
    assert [shadow.options.threshold for shadow in bench.shadows._waiting] == [0.6, 0.7]


def test_their_bytes_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2 * IMAGE.nbytes)
    for _ in range(5):
        bench.answer()
    assert bench.value("dropped_total", reason="full") == 3
    bench.shadows.run()
    bench.answer()
    assert bench.value("dropped_total", reason="full") == 3
    monkeypatch.setattr(module, "MAX_BYTES", IMAGE.nbytes - 1)
    bench.answer()
    assert not bench.shadows.ready
    assert bench.shadows._bytes == 0


def test_images_in_tiles_are_not_compared(bench: Bench) -> None:
    bench.answer(options(tiles=(1, 2)))
    assert bench.value("dropped_total", reason="tiles") == 1
    assert not bench.shadows.ready


def test_memory_that_runs_out_and_failures_drop_the_image_only(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for error, reason in ((DeviceOutOfMemory("no room"), "out-of-memory"), (ValueError("odd"), "failed")):
        bench.answer()
        bench.detector.broken = error
        bench.shadows.run()
        bench.detector.broken = None
        assert bench.value("dropped_total", reason=reason) == 1
    assert [record.message for record in caplog.records] == ["a shadow failed"]
    bench.answer()
    bench.shadows.run()
    assert bench.value("images_total") == 1


def test_a_device_that_has_failed_is_told(bench: Bench) -> None:
    bench.answer()
    bench.detector.broken, bench.detector.dead = RuntimeError("lost"), True
    with pytest.raises(WorkerDead):
        bench.shadows.run()


def test_closing_drops_all_and_keeps_no_more(bench: Bench) -> None:
    for _ in range(3):
        bench.answer()
    bench.shadows.close()
    assert bench.value("dropped_total", reason="draining") == 3
    bench.answer()
    assert not bench.shadows.ready
    bench.shadows.run()
    assert bench.value("images_total") == 0
