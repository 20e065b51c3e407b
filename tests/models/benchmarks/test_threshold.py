from __future__ import annotations

import numpy as np

from models.benchmarks import threshold as benchmark
from models.benchmarks.threshold import UNREFINED, calls_by_threshold, per_image
from models.data.samples import PageSamples
from models.detector import load_detector
from models.measurement.timing import Timing


def test_calls_detect_the_same_above_their_thresholds() -> None:
    detector = load_detector(device="cpu")
    images = [detector.preprocess(sample.image) for sample in PageSamples(2)]
    calls = calls_by_threshold(detector, images, (0.0, 0.5))
    assert list(calls) == ["0.0", "0.5", UNREFINED]
    for every, some, unrefined in zip(*(call() for call in calls.values()), strict=True):
        kept = every.detections.select(0.5)
        assert some.detections.labels == kept.labels
        assert 0 < len(kept) < len(every.detections) == len(unrefined.detections)
        assert not np.array_equal(every.detections.boxes_xyxy, unrefined.detections.boxes_xyxy)


def test_per_image_divides_a_timing() -> None:
    assert per_image(Timing(10, 5, 20), 5) == Timing(2, 1, 4)


def test_benchmark_writes_quartiles_by_threshold(run_benchmark) -> None:
    results = run_benchmark(benchmark, "--pages", "1", "--repeats", "2", "--thresholds", "0", "0.5")
    assert results["pages"] == 1
    assert list(results["milliseconds"]) == ["0.0", "0.5", UNREFINED]
    assert all(0 < time["low"] <= time["median"] <= time["high"] for time in results["milliseconds"].values())
