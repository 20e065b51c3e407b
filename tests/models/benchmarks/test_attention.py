from __future__ import annotations

import torch

from models.attention.act import ActAttention
from models.benchmarks import attention as benchmark
from models.benchmarks.attention import Measurement, Shape, break_even, clustered_queries
from models.measurement.timing import Timing

SHAPE = Shape(2, 3, 16, torch.float32, torch.device("cpu"))


def test_clustered_queries_have_the_given_number_of_clusters() -> None:
    q = clustered_queries(SHAPE, 97, 0.25, torch.Generator().manual_seed(0))
    assert q.shape == (2, 3, 97, 16)
    assert ActAttention(32, 0.5)(q, q, q).cluster_counts.unique().tolist() == [24]


def test_break_even_is_the_size_from_which_act_is_always_faster() -> None:
    def result(tokens: int, act: float, ratio: float) -> Measurement:
        times = {"exact": Timing(1.0, 1.0, 1.0), "act": Timing(act, act, act)}
        return Measurement("clustered", tokens, 32, 0.5, ratio, 0.0, times)

    half = [result(100, 0.9, 0.5), result(200, 1.2, 0.5), result(300, 0.8, 0.5), result(400, 0.6, 0.5)]
    assert break_even([*half, result(300, 2.0, 0.25)], 0.5) == 300
    assert break_even([result(400, 2.0, 0.25)], 0.25) is None


def test_benchmark_writes_the_time_of_every_stage(run_benchmark) -> None:
    results = run_benchmark(benchmark, "--tokens", "40", "--repeats", "2")
    assert len(results["measurements"]) == len(benchmark.RATIOS) + len(benchmark.RANDOM_SETTINGS)
    for row in results["measurements"]:
        assert set(row["milliseconds"]) == {"exact", "act", *benchmark.STAGES}
        if row["queries"] == "clustered":
            assert row["error"] < 1e-5
