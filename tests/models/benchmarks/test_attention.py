from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from models.attention.act import ActAttention
from models.benchmarks import attention as benchmark
from models.benchmarks.attention import Measurement, Shape, break_even, clustered_queries
from models.measurement.timing import Timing

SHAPE = Shape(2, 3, 16, torch.float32, torch.device("cpu"))


def test_clustered_queries_have_the_clusters_asked_for() -> None:
    q = clustered_queries(SHAPE, 97, 0.25, torch.Generator().manual_seed(0))
    assert q.shape == (2, 3, 97, 16)
    assert ActAttention(32, 0.5)(q, q, q).cluster_counts.unique().tolist() == [24]


def test_break_even_is_the_size_from_which_act_always_won() -> None:
    def found(tokens: int, act: float, ratio: float) -> Measurement:
        times = {"exact": Timing(1.0, 1.0, 1.0), "act": Timing(act, act, act)}
        return Measurement("clustered", tokens, 32, 0.5, ratio, 0.0, times)

    half = [found(100, 0.9, 0.5), found(200, 1.2, 0.5), found(300, 0.8, 0.5), found(400, 0.6, 0.5)]
    assert break_even([*half, found(300, 2.0, 0.25)], 0.5) == 300
    assert break_even([found(400, 2.0, 0.25)], 0.25) is None


def test_command_writes_every_stage_and_its_circumstances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "attention.json"
    arguments = ["--device", "cpu", "--tokens", "40", "--repeats", "2", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["attention", *arguments])
    benchmark.main()
    written = json.loads(output.read_text())
    assert written["torch"] == torch.__version__
    assert len(written["measurements"]) == len(benchmark.RATIOS) + len(benchmark.RANDOM_SETTINGS)
    for one in written["measurements"]:
        assert set(one["milliseconds"]) == {"exact", "act", *benchmark.STAGES}
        if one["queries"] == "clustered":
            assert one["error"] < 1e-5
