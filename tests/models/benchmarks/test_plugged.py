from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from models.benchmarks import plugged as benchmark
from models.benchmarks.plugged_families import FAMILIES, SHARPNESS, randomise, sharpen
from models.benchmarks.plugged_tables import COLUMNS, drawn, rows
from models.plugged import attention_settings, plug_into, unplug


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    output = tmp_path_factory.mktemp("results") / "plugged.json"
    arguments, threads = sys.argv, torch.get_num_threads()
    page = output.with_name("page.md")
    page.write_text("before\n\n<!-- table: plugged -->\n\nold\n\n<!-- end -->\n\nafter\n")
    settings = ["--attention", "tangent:C=100", "kmeans:C=4"]
    sys.argv = ["benchmark", "--quick", "--output", str(output), "--page", str(page), *settings]
    try:
        benchmark.main()
    finally:
        sys.argv = arguments
        torch.set_num_threads(threads)
    written: dict = json.loads(output.read_text()) | {"page": page.read_text()}
    return written


def test_every_family_is_measured(results: dict) -> None:
    assert {"commit", "date", "device", "torch", "transformers", "command", "load_average"} <= results.keys()
    assert [one["family"] for one in results["models"]] == list(FAMILIES)
    for one in results["models"]:
        exact, every, few = one["measurements"]
        assert (exact["attention"], exact["error"]) == ("exact", 0)
        assert exact["time_ratio"] == exact["encoder_time_ratio"] == 1
        assert exact["multiply_adds"] == exact["cluster_ratio"] == every["cluster_ratio"] == 1
        assert every["error"] < 1e-4 < few["error"] < 1
        assert few["cluster_ratio"] == 4 / one["tokens"]
        assert few["multiply_adds"] < 1 < every["multiply_adds"]
        for setting in one["measurements"]:
            assert setting["encoder_milliseconds"] > 0
            assert setting["milliseconds"]["median"] > 0


def test_logits_are_as_sharp_as_trained_ones(results: dict) -> None:
    for one in results["models"]:
        assert one["logit_deviation"] == pytest.approx(SHARPNESS, rel=1e-3)
        assert 0 < one["entropy"] < torch.tensor(one["tokens"]).log() - 0.1


def test_what_cannot_be_clustered_is_named_with_the_reason(results: dict) -> None:
    assert "bias for each pair" in results["refused"]["SAM"]


def test_a_table_has_a_row_for_every_setting(results: dict) -> None:
    found = rows(results["models"])
    assert len(found) == 3 * len(FAMILIES)
    assert found[0][:5] == ("DETR", "80", "2", "exact", "1.00")
    assert all(len(row) == len(COLUMNS) for row in found)


def test_the_table_of_a_page_is_drawn_and_nothing_else(results: dict) -> None:
    lines = results["page"].splitlines()
    assert lines[:4] == ["before", "", "<!-- table: plugged -->", ""]
    assert lines[4] == "| model | tokens | layers | encoder, model | `tangent:C=100` | `kmeans:C=4` |"
    assert lines[-4:] == ["", "<!-- end -->", "", "after"]
    assert len(lines) == 4 + 2 + len(FAMILIES) + 4
    assert "old" not in lines


@pytest.mark.parametrize("name", ["DETR", "torch encoder"])
def test_sharpening_scales_keys_once_and_keeps_the_rest(name: str) -> None:
    family = FAMILIES[name](True)
    family.model.eval()
    randomise(family.model)
    encoder = plug_into(family.model, "tangent")

    def run() -> None:
        with attention_settings("exact"):
            family.model(**family.inputs)

    first, second = sharpen(family, encoder, run), sharpen(family, encoder, run)
    for before, after in zip(first, second, strict=True):
        assert after.logits == pytest.approx(before.logits, rel=1e-3)
        assert after.entropy == pytest.approx(before.entropy, rel=1e-3)
    unplug(family.model)


def test_the_page_has_the_table_of_the_kept_results() -> None:
    root = Path(benchmark.__file__).parents[2]
    kept = json.loads((root / "models/benchmarks/results/plugged.json").read_text(encoding="utf-8"))
    page = (root / "docs/plug-in.md").read_text(encoding="utf-8")
    assert drawn(page, kept["models"]) == page
    assert [one["family"] for one in kept["models"]] == list(FAMILIES)
    with pytest.raises(ValueError, match="no place for the table"):
        drawn("# A page", kept["models"])
