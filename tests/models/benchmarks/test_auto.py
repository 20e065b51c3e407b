from __future__ import annotations

import pytest

from models.benchmarks import auto as benchmark


def test_benchmark_writes_what_auto_chose_and_its_regret(run_benchmark) -> None:
    options = ("--vouch", "tangent:C=4", "--aspects", "1", "1.5", "--sides", "64", "96", "--repeats", "2")
    sizes = run_benchmark(benchmark, *options)["sizes"]
    assert [size["shortest_side"] for size in sizes] == [64, 96]
    for size in sizes:
        assert set(size["timed_milliseconds"]) == {"exact", "tangent:C=4"}
        few, many = size["rows"]
        assert few["tokens"] < many["tokens"]
        for row in size["rows"]:
            best = min(row["milliseconds"].values())
            assert row["encoder_regret"] == pytest.approx(row["milliseconds"][row["chosen"]] / best - 1)
            assert (row["image_regret"] == 0) == (row["encoder_regret"] == 0)
            assert row["encoder_regret"] == row["always"][row["chosen"]]
            assert min(row["always"].values()) == 0
