"""The figures in the documents are those of the results beside them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from models.config import pages_small
from models.evaluation.vouching import MAX_AP_LOST

ROOT = Path(__file__).parents[2]
CARD = ROOT / "models" / "pretrained"
CLASSES = ("text", "title", "list", "table", "figure")


def evaluations(name: str, model: str = "pages-small") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((CARD / "evaluation" / model / f"{name}.json").read_text())["evaluations"]
    return rows


def share(value: float) -> str:
    return "1" if value == 1 else f"{value:.2f}"


def card_row(row: dict[str, Any]) -> str:
    """Return the line of the model card's tables for one attention setting."""
    metrics, fidelity = row["metrics"], row["fidelity"]
    cells = [
        f"`{row['setting']}`",
        *(f"{metrics[name]:.3f}" for name in ("ap", "ap50", "ap75")),
        *(f"{metrics['by_class'][name]:.2f}" for name in CLASSES),
        share(statistics.fmean(row["cluster_ratio"] or [1])),
        f"{row['gflops']['attention']:.3f}",
        share(row["gflops"]["attention"] / row["exact_gflops"]["attention"]),
        f"{fidelity['edge_drift']:.1f}" if fidelity else "0",
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", ["held-out-pages", "real-pages"])
def test_card_has_a_row_for_every_setting(name: str) -> None:
    card = (CARD / "README.md").read_text()
    assert [row for row in map(card_row, evaluations(name)) if row not in card] == []


@pytest.mark.parametrize("name", ["held-out-pages-unrefined", "held-out-pages-all", "held-out-pages"])
def test_card_shows_what_refinement_and_suppression_bring(name: str) -> None:
    exact = evaluations(name)[0]
    metrics, point, speed = exact["metrics"], exact["operating_point"], exact["speed"]
    figures = f"{metrics['ap']:.3f} | {metrics['ap50']:.3f} | {point['precision']:.2f} | {point['recall']:.2f}"
    assert f" | {figures} | {speed['median']:.0f} |" in (CARD / "README.md").read_text()


def test_the_default_model_vouches_for_what_its_evaluation_shows() -> None:
    exact, *others = evaluations("held-out-pages")
    lost = {row["setting"]: exact["metrics"]["ap"] - row["metrics"]["ap"] for row in others}
    for one in pages_small().vouched:
        assert one.ap_lost == round(lost[one.setting], 4) <= MAX_AP_LOST
        (row,) = (row for row in others if row["setting"] == one.setting)
        assert one.cluster_ratio == round(statistics.fmean(row["cluster_ratio"]), 4)
    assert {one.setting for one in pages_small().vouched} == {
        setting for setting, ap in lost.items() if ap <= MAX_AP_LOST
    }


def test_readme_compares_attention_modes_by_the_cards_results() -> None:
    readme = (ROOT / "README.md").read_text()
    for row in evaluations("held-out-pages"):
        if row["setting"] in ("exact", "tangent:C=16", "act:L=16,r=1"):
            cost = share(row["gflops"]["attention"] / row["exact_gflops"]["attention"])
            assert f"| {row['metrics']['ap']:.3f} | {cost} | {row['speed']['median']:.0f} ms |" in readme
