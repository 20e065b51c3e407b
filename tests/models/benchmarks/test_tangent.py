from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from models.benchmarks import tangent as benchmark
from models.benchmarks.tangent import measure, recorded_layers, rivals
from models.config import AttentionConfig
from models.detector import Detector
from models.detr.detr import Detr


@torch.inference_mode()
def test_layers_are_the_encoders_own(tiny_detr: Detr) -> None:
    layers = recorded_layers(Detector(tiny_detr), 90)
    config = tiny_detr.config
    assert len(layers) == config.encoder_layers
    for layer in layers:
        assert {tuple(x.shape) for x in layer} == {(1, config.heads, 88, config.head_dim)}  # 11 by 8
    assert not torch.equal(layers[0][0], layers[1][0])


@torch.inference_mode()
def test_measurements_are_relative_to_exact_attention(tiny_detr: Detr) -> None:
    layers = recorded_layers(Detector(tiny_detr), 90)
    exact, copy, tangent, whole = measure(
        [AttentionConfig.exact(), *(AttentionConfig.tangent(4, S) for S in (0, 4)), AttentionConfig.kmeans(88)],
        layers,
        2,
    )
    assert (exact.error, exact.time_ratio, exact.multiply_adds, exact.cluster_ratio) == (0, 1, 1, 1)
    assert tangent.error < copy.error
    assert copy.cluster_ratio == pytest.approx(4 / 88)
    assert 0 < copy.multiply_adds < tangent.multiply_adds
    assert whole.error < 1e-3
    assert len(copy.errors) == 2
    assert copy.error == pytest.approx(sum(copy.errors) / 2)


def test_rivals_start_with_exact_and_are_all_different() -> None:
    found = rivals((16, 32), AttentionConfig.act(32, 8.0))
    assert found[0] == AttentionConfig.exact()
    assert len(set(found)) == len(found)
    assert AttentionConfig.tangent(32, 16) in found
    assert AttentionConfig.tangent(16) in found


def test_writes_what_it_measured_and_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "tangent.json"
    arguments = ["--tokens", "60", "--clusters", "4", "--device", "cpu", "--quick", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["tangent", *arguments, "--output", str(output)])
    threads = torch.get_num_threads()
    try:
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
    written = json.loads(output.read_text())
    assert {"commit", "date", "device", "model", "torch", "command", "load_average"} <= written.keys()
    assert written["threads"] == 1
    assert all(float(load) >= 0 for load in written["load_average_before"].split())
    by_name = {one["attention"]: one for one in written["measurements"]}
    assert by_name["exact"]["time_ratio"] == 1
    assert by_name["tangent:C=4"]["error"] < by_name["kmeans:C=4,metric=key"]["error"]
    assert by_name["tangent:C=4"]["milliseconds"]["median"] > 0
