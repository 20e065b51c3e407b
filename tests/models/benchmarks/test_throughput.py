from __future__ import annotations

from typing import Any

import pytest
import torch

from models.benchmarks import throughput as benchmark
from models.benchmarks.engines import ENGINES
from models.benchmarks.workload import Engine, Unavailable, Workload

SMALL = ("--size", "96x128", "--repeats", "2")


def test_transformers_and_ours_compute_the_same_from_the_same_weights(run_benchmark) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("timm")
    engines = ("--engines", "ours", "transformers")
    attention = ("--attention", "exact", "kmeans:C=1")
    results = run_benchmark(benchmark, *SMALL, "--model", "r50", "--batch", "2", *attention, *engines)
    assert results["tokens"] == 12
    by_name: dict[str, dict[str, Any]] = {row["engine"]: row for row in results["engines"]}
    assert list(by_name) == ["ours, exact", "ours, kmeans:C=1", "transformers"]
    for name in ("ours, exact", "transformers"):
        assert by_name[name]["logits"] < 1e-4
        assert by_name[name]["boxes"] < 1e-4
    assert by_name["ours, kmeans:C=1"]["logits"] > 1e-3  # what the encoder attends to shows in the output
    assert all(row["images_per_second"] > 0 for row in by_name.values())
    assert results["unavailable"] == {}


def test_an_engine_that_cannot_run_is_listed_with_its_reason(run_benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(work: Workload) -> list[Engine]:
        raise Unavailable("it is not installed")

    monkeypatch.setitem(ENGINES, "absent", absent)
    arguments = ("--model", "pages-small", "--engines", "ours", "transformers", "absent")
    results = run_benchmark(benchmark, *SMALL, *arguments)
    assert [row["engine"] for row in results["engines"]] == ["ours, exact"]
    assert results["unavailable"] == {
        "transformers": "transformers has no model like pages-small",
        "absent": "it is not installed",
    }


@pytest.mark.half
@torch.inference_mode()
def test_half_precision_shows_as_a_difference(run_benchmark) -> None:
    results = run_benchmark(benchmark, *SMALL, "--model", "pages-small", "--engines", "ours", "--precision", "bf16")
    (row,) = results["engines"]
    assert 1e-6 < row["scores"] < 0.1
