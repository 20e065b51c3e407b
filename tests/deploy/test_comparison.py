"""The comparison that the demonstration ends with, against a service with a model of the smallest shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.comparison import EVALUATIONS, Row, compare, evaluated_ap, saved, table
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.named_models import EMBEDDED, named_config

EXACT, TANGENT, MERGE = AttentionConfig.exact(), AttentionConfig.tangent(16), AttentionConfig.merge(0.5)


def timed(*milliseconds: float) -> list[Row]:
    """Rows of exact, tangent and merging attention that took so long."""
    by_attention = zip((EXACT, TANGENT, MERGE), milliseconds, strict=True)
    return [Row("pages-large", attention, 2508, time, 0.93) for attention, time in by_attention]


def test_each_model_is_asked_with_each_attention_as_often(
    run_server: Callable[..., AbstractContextManager[Any]], tiny_config: DetrConfig, encoded: Callable[..., bytes]
) -> None:
    with run_server(Detector(Detr(tiny_config))) as running:
        rows = compare(dict.fromkeys(EMBEDDED, running.client), encoded(kind="JPEG"), rounds=2)
        assert running.total("act_detr_images_total") == len(rows) * 3  # a round more, to warm up
    assert [(row.model, row.attention.mode) for row in rows] == [
        (model, mode) for model in EMBEDDED for mode in ("exact", "tangent", "merge", "act")
    ]
    for row in rows:
        assert row.tokens > 0
        assert row.milliseconds > 0
        assert row.ap == evaluated_ap(row.model, row.attention)


@pytest.mark.parametrize("model", [folder.name for folder in EVALUATIONS.iterdir()])
def test_the_card_has_every_attention_that_is_compared(model: str) -> None:
    for attention in named_config(model).default_attentions:
        assert evaluated_ap(model, attention) is not None


def test_average_precision_is_that_of_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    rows = [{"setting": "exact", "metrics": {"ap": 0.5}}, {"setting": "tangent:C=16", "metrics": {"ap": 0.25}}]
    (tmp_path / "mine" / "pages.json").write_text(json.dumps({"evaluations": rows}))
    assert evaluated_ap("mine", TANGENT, tmp_path) == 0.25
    assert evaluated_ap("mine", AttentionConfig.act(), tmp_path) is None
    assert evaluated_ap("other", TANGENT, tmp_path) is None


def test_what_was_measured_is_said() -> None:
    both = "answers 1.6 times as fast with tangent attention and 2.4 times as fast with merged tokens as with exact"
    assert both in saved(timed(480, 300, 200), "pages-large")
    one = "answers 1.6 times as fast with merged tokens as with exact"
    assert one in saved(timed(480, 470, 300), "pages-large")
    assert "is fastest with exact attention (200 ms)" in saved(timed(200, 300, 199), "pages-large")


def test_the_table_has_a_line_for_each_row() -> None:
    console = Console(width=100, file=StringIO())
    with console.capture() as text:
        console.print(table(timed(480, 300, 200)))
    for shown in ("tangent:C=16", "2508", "300", "0.930"):
        assert shown in text.get()
