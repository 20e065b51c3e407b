"""The table of docs/models.md: a test runs for every model and everything that it says works, or does not."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
FAMILIES = ROOT / "tests" / "models" / "networks" / "test_families.py"

EXACT = "test_exact_detections_are_those_of_transformers_own_pipeline"
LIMIT = "test_clustered_attention_is_exact_at_its_limit"
OWN = "test_our_own_network_can_be_trained_and_exported"
NOT_OWN = "test_others_are_neither_trained_nor_exported"
BACKED: dict[tuple[str, str], str] = {
    ("load", "yes"): EXACT,
    ("exact", "yes"): EXACT,
    ("ACT, tangent", "yes"): LIMIT,
    ("ACT, tangent", "one layer"): LIMIT,
    ("ACT, tangent", "no"): "test_encoders_that_sample_refuse_clusters_and_say_why",
    ("train", "yes"): OWN,
    ("train", "no"): NOT_OWN,
    ("export", "yes"): OWN,
    ("export", "no"): NOT_OWN,
    ("engine", "act-detr"): "test_our_own_network_is_taken_where_it_can_be",
    ("engine", "transformers"): "test_the_model_is_described",
}
"""The test behind each cell, by column and content."""
MODELS = {
    "DETR, Table Transformer; ResNet, sine positions": ("detr", "table-transformer"),
    "DETR for segmentation ([masks](#masks) too); ResNet, sine positions": ("detr-segmentation",),
    "DETR for segmentation ([masks](#masks) too); other backbones, learned positions": ("detr-segmentation-learned",),
    "DETR, Table Transformer; other backbones, learned positions": (
        *("detr-learned", "detr-swin", "detr-convnext", "detr-timm-resnet-d", "detr-timm-group-norm"),
        *("detr-timm-mobilenet", "detr-timm-convnext", "table-transformer-timm-resnet-d"),
    ),
    "Conditional DETR": ("conditional-detr",),
    "DAB-DETR": ("dab-detr",),
    "RT-DETR, RT-DETRv2, D-FINE": ("rt-detr", "rt-detr-v2", "d-fine"),
    "Deformable DETR, also in two stages": ("deformable-detr", "deformable-detr-two-stage"),
}
"""The models that stand for each row."""


def table() -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the page's first table."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    found = re.search(r"^\|.*?(?=^[^|])", text, re.M | re.S)
    assert found is not None
    columns, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    return columns, rows


@pytest.fixture(scope="module")
def families() -> ModuleType:
    spec = spec_from_file_location("families_of_the_page", FAMILIES)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def parameters(test: Any) -> set[str]:
    """The models that a test runs with."""
    return {
        name
        for mark in test.pytestmark
        if mark.name == "parametrize" and mark.args[0] == "name"
        for name in mark.args[1]
    }


def test_the_rows_are_the_models_that_are_tested(families: ModuleType) -> None:
    assert [row[0] for row in table()[1]] == list(MODELS)
    assert sorted(name for names in MODELS.values() for name in names) == sorted({*families.OURS, *families.FOREIGN})


def test_every_cell_has_a_test_that_runs_with_its_models(families: ModuleType) -> None:
    columns, rows = table()
    unbacked = [
        (row[0], column, content)
        for row in rows
        for column, content in zip(columns[1:], row[1:], strict=True)
        if not set(MODELS[row[0]]) <= parameters(getattr(families, BACKED[column, content]))
    ]
    assert not unbacked
