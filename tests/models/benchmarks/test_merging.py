from __future__ import annotations

from models.benchmarks import merging as benchmark


def test_benchmark_compares_merging_with_attention_modes(run_benchmark) -> None:
    settings = ("exact", "tangent:C=4", "once-cell-0", "once-cell-0.5", "layer-global-0.5+tangent:C=4")
    results = run_benchmark(benchmark, "--model", "pages-small", "--pages", "1", "--settings", *settings)
    exact, _, unmerged, merged, _ = rows = results["measurements"]
    assert [row["setting"] for row in rows] == list(settings)
    assert unmerged["ap"] == exact["ap"] > 0.5
    assert merged["gflops"] < unmerged["gflops"]
    assert all(0 < row["encoder_ms"] < row["image_ms"] for row in rows)
