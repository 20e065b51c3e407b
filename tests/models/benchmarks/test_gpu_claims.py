from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.benchmarks import gpu_claims
from models.benchmarks.gpu_claims import CLAIMS, decide


def engine(name: str, rate: float, off: float) -> dict[str, Any]:
    return {"engine": name, "images_per_second": rate, "scores": off, "boxes": off / 2}


def attention(name: str, tokens: int, ratio: float) -> dict[str, Any]:
    return {"attention": name, "tokens": tokens, "time_ratio": ratio}


def unequal(one_call: float, one_by_one: float, rate: float, off: float) -> dict[str, Any]:
    ours = {"engine": "one call", "transformer_ms": {"median": one_call}, "scores": off, "boxes": off / 2}
    others = [("one after another", {"median": one_by_one}, 150), ("transformers, padded", None, 100)]
    rows = [{"engine": name, "transformer_ms": part, "images_per_second": own} for name, part, own in others]
    return {"rows": [ours | {"images_per_second": rate}, *rows]}


GOOD: dict[str, dict[str, Any]] = {
    "detr-bf16": {"engines": [engine("ours, exact", 210, 0.01), engine("transformers", 100, 0.01)]},
    "detr-fp32": {"engines": [engine("ours, exact", 210, 1e-5), engine("transformers", 100, 1e-4)]},
    "unequal-bf16": unequal(3.0, 6.0, 170, 0.01),
    "http": {"rows": [{"callers": 0, "share": 1.0}, {"callers": 1, "share": 0.7}, {"callers": 8, "share": 0.9}]},
    "tangent": {
        "measurements": [
            *(attention("exact", tokens, 1.0) for tokens in (4218, 16_800)),
            *(attention("act:L=16,r=8", tokens, 0.1) for tokens in (4218, 16_800)),
            attention("tangent:C=16", 4218, 0.7),
            attention("tangent:C=16", 16_800, 0.3),
            attention("tangent:C=32", 16_800, 0.4),
        ]
    },
}


def write(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, results in files.items():
        (folder / f"{name}.json").write_text(json.dumps(results))


def test_claims_are_met_by_the_figures_they_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, GOOD)
    values = {claim.name: claim.value for claim in decide(tmp_path)}
    expected = {"detr": 2.1, "outputs": 1e-4, "http": 0.9, "tangent-16k": 1 / 0.3, "tangent-4k": 1 / 0.7}
    expected |= {"unequal": 2.0, "unequal-detr": 1.7, "unequal-outputs": 0.01}
    assert values == pytest.approx(expected)
    assert gpu_claims.main([str(tmp_path)]) == 0
    assert "not met" not in capsys.readouterr().out
    assert gpu_claims.main([str(tmp_path), "--failed", "tests"]) == 1
    assert json.loads((tmp_path / "claims.json").read_text())["failed_steps"] == ["tests"]


@pytest.mark.parametrize(
    ("name", "file", "results"),
    [
        ("detr", "detr-bf16", {"engines": [engine("ours, exact", 190, 0), engine("transformers", 100, 0)]}),
        ("outputs", "detr-fp32", {"engines": [engine("ours, exact", 1, 0.01), engine("transformers", 1, 0)]}),
        ("unequal", "unequal-bf16", unequal(5.0, 6.0, 170, 0.01)),
        ("unequal-detr", "unequal-bf16", unequal(3.0, 6.0, 140, 0.01)),
        ("unequal-outputs", "unequal-bf16", unequal(3.0, 6.0, 170, 0.2)),
        ("http", "http", {"rows": [{"callers": 0, "share": 1.0}, {"callers": 8, "share": 0.8}]}),
        ("tangent-16k", "tangent", {"measurements": [attention("tangent:C=16", 16_800, 0.4)]}),
        ("tangent-4k", "tangent", {"measurements": [attention("tangent:C=16", 4218, 0.8)]}),
    ],
)
def test_a_claim_below_its_bound_is_not_met(tmp_path: Path, name: str, file: str, results: dict[str, Any]) -> None:
    write(tmp_path, GOOD | {file: results})
    (claim,) = (one for one in decide(tmp_path) if one.name == name)
    assert claim.value is not None
    assert not claim.met
    assert gpu_claims.main([str(tmp_path)]) == 1


def test_what_was_not_measured_is_not_met(tmp_path: Path) -> None:
    write(tmp_path, {"detr-fp32": {"engines": [engine("ours, exact", 1, 0)]}, "tangent": {"measurements": []}})
    assert [(claim.value, claim.met) for claim in decide(tmp_path)] == [(None, False)] * len(CLAIMS)
