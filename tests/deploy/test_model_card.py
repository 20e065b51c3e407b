"""The tables of the model card are those that the evaluations beside it give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.comparison import EVALUATIONS
from deploy.model_card import CARD, NOT_MEASURED, README, draw, rows_of, share
from models.named_models import EMBEDDED, named_config

ROW = {
    "setting": "exact",
    "metrics": {
        "ap": 0.5,
        "ap50": 0.75,
        "ap75": 0.625,
        "by_class": {"text": 0.9, "title": 0.1, "list": 0.2, "table": 0.3, "figure": 0.4},
    },
    "operating_point": {"precision": 0.25, "recall": 0.5},
    "tokens": 638.0,
    "cluster_ratio": [],
    "merged_ratio": 1.0,
    "gflops": {"attention": 2.0, "encoder": 4.0, "total": 8.0},
    "exact_gflops": {"attention": 2.0, "encoder": 4.0, "total": 8.0},
    "fidelity": None,
    "speed": {"median": 99.6},
}
TANGENT = ROW | {
    "setting": "tangent:C=16",
    "cluster_ratio": [0.1, 0.3],
    "gflops": {"attention": 0.5, "encoder": 2.5, "total": 6.5},
    "fidelity": {"edge_drift": 1.25},
}


COSTS = "<!-- table: costs pages -->\n<!-- end -->"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for model in EMBEDDED:
        (tmp_path / model).mkdir()
        tangent = TANGENT | {"setting": str(named_config(model).default_tangent)}
        (tmp_path / model / "pages.json").write_text(json.dumps({"evaluations": [ROW, tangent]}))
    return tmp_path


@pytest.mark.parametrize("page", [CARD, README], ids=["card", "README"])
def test_a_page_has_what_the_evaluations_give(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert draw(text) == text, "python -m deploy.model_card draws it anew"


def test_the_card_shows_every_evaluation_that_was_run() -> None:
    card = CARD.read_text(encoding="utf-8")
    for file in EVALUATIONS.rglob("*.json"):
        name = file.relative_to(EVALUATIONS).with_suffix("")
        base = str(name).partition("-unrefined")[0].removesuffix("-all")
        tables = (f"<!-- table: evaluation {base} -->", f"<!-- table: parts {base} -->")
        shown = any(table in card for table in tables)
        assert shown, file


def test_an_evaluation_is_a_table_of_its_settings(folder: Path) -> None:
    drawn = draw("before\n<!-- table: evaluation pages-small/pages -->\nold\n<!-- end -->\nafter", folder)
    assert (
        "| `exact` | 0.500 | 0.750 | 0.625 | 0.90 | 0.10 | 0.20 | 0.30 | 0.40 | 1 | 2.000 | 4.000 | 0 | 100 |" in drawn
    )
    assert (
        "| `tangent:C=16` | 0.500 | 0.750 | 0.625 | 0.90 | 0.10 | 0.20 | 0.30 | 0.40 | 0.20 | 0.500 | 2.500 |" in drawn
    )
    assert "old" not in drawn
    assert drawn.startswith("before\n")
    assert drawn.endswith("\nafter")
    assert draw(drawn, folder) == drawn


def test_models_are_compared_with_their_own_settings(folder: Path) -> None:
    drawn = draw("<!-- table: models pages -->\n<!-- end -->", folder)
    for model in EMBEDDED:
        assert f"| `{model}` | `exact` | 638 | 0.500 |" in drawn
        tangent = named_config(model).default_tangent
        assert f"| `{model}` | `{tangent}` |" in drawn
        assert f"| `{model}` | `{tangent}` | 638 | 0.500 | 0.62 | 100 ms |" in draw(COSTS, folder)
    assert "act:" not in drawn  # was not evaluated


def test_parts_that_were_not_evaluated_are_left_out(folder: Path) -> None:
    drawn = draw("<!-- table: parts pages-large/pages -->\n<!-- end -->", folder)
    assert "| as served | 0.500 | 0.750 | 0.25 | 0.50 | 100 |" in drawn
    assert "without" not in drawn


@pytest.mark.parametrize("table", ["models real-pages", "evaluation pages-large/real-pages", "parts other/pages"])
def test_what_was_not_measured_says_so(folder: Path, table: str) -> None:
    assert NOT_MEASURED in draw(f"<!-- table: {table} -->\n<!-- end -->", folder)


def test_every_table_is_of_a_kind_that_there_is(folder: Path) -> None:
    with pytest.raises(KeyError, match="others"):
        draw("<!-- table: others pages-small -->\n<!-- end -->", folder)


def test_rows_begin_with_exact_attention() -> None:
    for file in EVALUATIONS.rglob("*.json"):
        assert rows_of(str(file.relative_to(EVALUATIONS).with_suffix("")))[0]["setting"] == "exact"
    assert (share(1.0), share(0.997)) == ("1", "1.00")
