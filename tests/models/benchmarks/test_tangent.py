from __future__ import annotations

import pytest
import torch

from models.attention_config import AttentionConfig
from models.benchmarks import tangent as benchmark
from models.benchmarks.tangent import ATTENTIONS, copies, measure, page_inputs
from models.detector import Detector
from models.detr.detr import Detr


@torch.inference_mode()
def test_page_inputs_make_about_the_given_number_of_tokens(tiny_detr: Detr) -> None:
    layers = page_inputs(Detector(tiny_detr), 90)
    assert len(layers) == tiny_detr.config.encoder_layers
    assert {layer.tokens for layer in layers} == {88}  # 11 by 8


@torch.inference_mode()
def test_measurements_are_relative_to_exact_attention(tiny_detr: Detr) -> None:
    layers = page_inputs(Detector(tiny_detr), 90)
    attentions = [*(AttentionConfig.tangent(4, S) for S in (0, 4)), AttentionConfig.kmeans(88)]
    exact, copy, tangent, whole = measure(attentions, layers, 2)
    assert (exact.error, exact.time_ratio, exact.multiply_adds, exact.cluster_ratio) == (0, 1, 1, 1)
    assert tangent.error < copy.error
    assert copy.cluster_ratio == pytest.approx(4 / 88)
    assert 0 < copy.multiply_adds < tangent.multiply_adds
    assert whole.error < 1e-3
    assert len(copy.errors) == 2
    assert copy.error == pytest.approx(sum(copy.errors) / 2)


@torch.inference_mode()
def test_copies_of_a_page_cost_as_much_each(tiny_detr: Detr) -> None:
    layers = page_inputs(Detector(tiny_detr), 90)
    attentions = [AttentionConfig.tangent(4)]
    one, three = (measure(attentions, [copies(layer, n) for layer in layers], 2) for n in (1, 3))
    for single, batch in zip(one, three, strict=True):
        assert batch.multiply_adds == single.multiply_adds
        assert batch.cluster_ratio == pytest.approx(single.cluster_ratio)
        assert batch.error == pytest.approx(single.error, rel=1e-3, abs=1e-6)


def test_benchmark_compares_all_settings_by_default(tiny_detr: Detr) -> None:
    assert len({tiny_detr.config.attention(text) for text in ATTENTIONS}) == len(ATTENTIONS)


def test_benchmark_writes_errors_and_times(run_benchmark) -> None:
    arguments = ("--tokens", "60", "--attention", "kmeans:C=4,metric=key", "tangent:C=4", "--quick")
    results = run_benchmark(benchmark, *arguments)
    assert results["threads"] == 1
    assert all(float(load) >= 0 for load in results["load_average_before"].split())
    by_name = {row["attention"]: row for row in results["measurements"]}
    assert by_name["exact"]["time_ratio"] == 1
    assert by_name["tangent:C=4"]["error"] < by_name["kmeans:C=4,metric=key"]["error"]
    assert by_name["tangent:C=4"]["milliseconds"]["median"] > 0
