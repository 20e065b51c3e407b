from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from models.benchmarks import threshold as benchmark
from models.benchmarks.threshold import PLAIN, an_image, rivals
from models.data.samples import PageSamples
from models.detector import load_detector
from models.measurement.timing import Timing


def test_rivals_find_the_same_above_their_thresholds() -> None:
    detector = load_detector(device="cpu")
    images = [detector.preprocess(sample.image) for sample in PageSamples(2)]
    calls = rivals(detector, images, (0.0, 0.5))
    assert list(calls) == ["0.0", "0.5", PLAIN]
    every, some, plain = (call() for call in calls.values())
    for whole, fewer, rough in zip(every, some, plain, strict=True):
        kept = whole.detections.select(0.5)
        assert fewer.detections.labels == kept.labels
        assert 0 < len(kept) < len(whole.detections) == len(rough.detections)
        assert not torch.equal(*(torch.from_numpy(found.detections.boxes_xyxy) for found in (whole, rough)))


def test_time_of_an_image() -> None:
    assert an_image(Timing(10, 5, 20), 5) == Timing(2, 1, 4)


def test_writes_what_it_measured_and_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "threshold.json"
    arguments = ["--pages", "1", "--repeats", "2", "--thresholds", "0", "0.5", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["threshold", *arguments, "--output", str(output)])
    threads = torch.get_num_threads()
    try:
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
    told = json.loads(output.read_text())
    assert told["commit"]
    assert told["pages"] == 1
    assert list(told["milliseconds"]) == ["0.0", "0.5", PLAIN]
    assert all(0 < time["low"] <= time["median"] <= time["high"] for time in told["milliseconds"].values())
