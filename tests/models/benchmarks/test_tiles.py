from __future__ import annotations

import numpy as np

from models.attention_config import AttentionConfig
from models.benchmarks import tiles as benchmark
from models.benchmarks.tiles import long_image, page_by_page
from models.data.samples import PageSamples
from models.detector import Detector


def test_a_long_image_has_the_pages_and_their_objects_under_one_another() -> None:
    pages = [PageSamples(2, 80, 64)[i] for i in range(2)]
    image = long_image(pages)
    assert image.image.shape == (160, 64, 3)
    first = len(pages[0].truth.labels)
    assert image.truth.labels == pages[0].truth.labels + pages[1].truth.labels
    assert np.array_equal(image.truth.boxes_xyxy[:first], pages[0].truth.boxes_xyxy)
    assert np.array_equal(image.truth.boxes_xyxy[first:], pages[1].truth.boxes_xyxy + np.array((0, 80, 0, 80)))


def test_page_by_page_finds_what_each_page_has(tiny_detr) -> None:
    detector, exact = Detector(tiny_detr), AttentionConfig.exact()
    images = [PageSamples(2, 80, 64)[i].image for i in range(2)]
    found = page_by_page(detector, images, exact)
    assert sorted(found.scores, reverse=True) == list(found.scores)
    alone = [detector.detect(image, exact, 0.02).detections for image in images]
    boxes = np.concatenate([alone[0].boxes_xyxy, alone[1].boxes_xyxy + np.float32((0, 80, 0, 80))])
    assert np.array_equal(np.sort(found.boxes_xyxy, 0), np.sort(boxes, 0))


def test_benchmark_compares_tiles_with_pages_and_the_whole(run_benchmark) -> None:
    results = run_benchmark(benchmark, "--data", "journals:2", "--pages", "2", "--tiles", "2x1")
    outcomes = results["outcomes"]
    assert list(outcomes) == ["page by page", "whole", "2x1"]
    assert outcomes["2x1"]["recall"] > outcomes["whole"]["recall"]
    assert all(0 <= one["ap"] <= 1 and one["milliseconds"] > 0 for one in outcomes.values())
