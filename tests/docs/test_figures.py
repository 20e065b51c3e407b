"""The figures in the documents are those of the results beside them."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

from deploy.comparison import EVALUATIONS
from models.evaluation.vouching import MAX_AP_LOST
from models.named_models import named_config

LEARNT_ON = "pages"
"""The kind of pages that the models were trained with, and vouch for attention on."""


def evaluations(model: str) -> list[dict[str, Any]]:
    file = EVALUATIONS / model / f"{LEARNT_ON}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["evaluations"]
    return rows


@pytest.mark.parametrize("model", [folder.name for folder in EVALUATIONS.iterdir()])
def test_a_model_vouches_for_what_its_evaluation_shows(model: str) -> None:
    exact, *others = evaluations(model)
    lost = {row["setting"]: exact["metrics"]["ap"] - row["metrics"]["ap"] for row in others}
    vouched = named_config(model).vouched
    for one in vouched:
        assert one.ap_lost == round(lost[one.setting], 4) <= MAX_AP_LOST
        (row,) = (row for row in others if row["setting"] == one.setting)
        assert one.cluster_ratio == round(statistics.fmean(row["cluster_ratio"] or [row["merged_ratio"]]), 4)
    assert {one.setting for one in vouched} == {setting for setting, ap in lost.items() if ap <= MAX_AP_LOST}
