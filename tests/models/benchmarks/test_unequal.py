from __future__ import annotations

from typing import Any

import pytest
import torch

from models.attention import multihead
from models.benchmarks import unequal as benchmark
from models.benchmarks.unequal import ONE_BY_ONE, ONE_CALL, TRANSFORMERS


def test_all_compute_the_same_of_images_of_unequal_sizes(run_benchmark) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("timm")
    takes_unequal = multihead.takes_unequal
    sizes = ("--sizes", "96x128", "64x160", "--batch", "3", "--repeats", "2", "--precision", "fp32")
    results = run_benchmark(benchmark, *sizes)
    assert multihead.takes_unequal is takes_unequal
    by_name: dict[str, dict[str, Any]] = {row["engine"]: row for row in results["rows"]}
    assert list(by_name) == [ONE_CALL, ONE_BY_ONE, TRANSFORMERS]
    assert by_name[ONE_CALL]["scores"] == by_name[ONE_CALL]["boxes"] == 0  # a CPU has no kernel for it
    assert 0 < by_name[TRANSFORMERS]["boxes"] < 0.2
    assert by_name[ONE_CALL]["transformer_ms"]["median"] > 0
    assert by_name[TRANSFORMERS]["transformer_ms"] is None
    assert all(row["images_per_second"] > 0 for row in by_name.values())


def test_neighbours_differ_in_size() -> None:
    images = benchmark.draw_batch(3, [(64, 96), (96, 64)], torch.device("cpu"))
    assert [tuple(image.pixels.shape[1:]) for image in images] == [(64, 96), (96, 64), (64, 96)]
