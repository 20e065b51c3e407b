"""Engines outside of PyTorch compute what transformers does, where they are installed, and say what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.benchmarks import throughput as benchmark
from models.benchmarks.exported_engines import onnxruntime_engine, openvino_engine
from models.benchmarks.workload import Engine, Unavailable, Workload, make_workload

CPU = torch.device("cpu")
SMALL = ("--size", "96x128", "--repeats", "2", "--model", "r50")
Make = Callable[[Workload], list[Engine]]


@pytest.fixture(scope="module")
def work() -> Workload:
    pytest.importorskip("transformers")
    pytest.importorskip("timm")
    return make_workload("r50", CPU, "fp32")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "module"), [("onnxruntime", "onnxscript"), ("openvino", "openvino")])
def test_an_exported_network_computes_the_same(run_benchmark: Any, work: Workload, engine: str, module: str) -> None:
    pytest.importorskip(engine)
    pytest.importorskip(module)
    results = run_benchmark(benchmark, *SMALL, "--engines", "ours", engine)
    assert results["unavailable"] == {}
    ours, other = results["engines"]
    assert ours["engine"] == "ours, exact"
    assert other["logits"] < 1e-4
    assert other["boxes"] < 1e-4


@pytest.mark.parametrize(
    ("make", "module"),
    [(onnxruntime_engine, "onnxruntime"), (onnxruntime_engine, "onnxscript"), (openvino_engine, "openvino")],
)
def test_an_engine_that_is_not_installed_says_how_to_install_it(
    work: Workload, make: Make, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "onnxscript":
        pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unavailable, match=rf"{module} is not installed: pip install '\.\[bench\]'"):
        make(work)


@pytest.mark.parametrize("make", [onnxruntime_engine, openvino_engine])
def test_a_model_that_transformers_lacks_cannot_be_exported(make: Make) -> None:
    with pytest.raises(Unavailable, match="transformers has no model like pages-small"):
        make(make_workload("pages-small", CPU, "fp32"))


def test_onnx_runtime_is_left_out_in_bfloat16(run_benchmark: Any, work: Workload) -> None:
    results = run_benchmark(benchmark, *SMALL, "--engines", "onnxruntime", "--precision", "bf16")
    assert results["engines"] == []
    assert "bfloat16" in results["unavailable"]["onnxruntime"]
