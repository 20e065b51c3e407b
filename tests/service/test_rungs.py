"""The ladder's rungs: what a setting means for a model, what is refused, and what is measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from models.attention_config import AttentionConfig
from models.measurement.shortest import MAX_ROUNDS
from models.networks.network import Family
from service.rungs import Rung, RungTimes, configured_rungs, measure_rungs
from service.settings import BadSettings, Settings

TANGENT = AttentionConfig.tangent
MERGE = AttentionConfig.merge


def rungs_of(detector: Any, ladder: str = "", target_ms: float | None = 500) -> tuple[Rung, ...]:
    return configured_rungs(Settings(target_ms=target_ms, ladder=ladder), detector, detector.config.sides)


@pytest.mark.parametrize(
    ("ladder", "rungs"),
    [
        ("", (Rung(304),)),
        ("size=320; size=304", (Rung(320), Rung(304))),
        ("size=304;size=304,tangent:C=8", (Rung(304), Rung(304, TANGENT(8)))),
        ("tangent", (Rung(attention=TANGENT(16)),)),  # the model's own C
        ("exact", (Rung(attention=AttentionConfig.exact()),)),
        ("merge:ratio=0.25; size=304,merge:ratio=0.5,C=8", (Rung(attention=MERGE(0.25)), Rung(304, MERGE(0.5, 8)))),
        ("size=304,act:L=16,r=2,metric=key", (Rung(304, AttentionConfig.act(16, 2.0, metric="key")),)),
    ],
)
def test_a_ladder_is_read_for_the_model(detector: Any, ladder: str, rungs: tuple[Rung, ...]) -> None:
    assert rungs_of(detector, ladder) == rungs


def test_without_a_target_there_is_no_rung(detector: Any) -> None:
    assert rungs_of(detector, "size=304", target_ms=None) == ()


def test_rungs_are_shown_as_they_are_written() -> None:
    assert [str(rung) for rung in (Rung(304), Rung(304, TANGENT(8)), Rung(attention=TANGENT(8)))] == [
        "size=304",
        "size=304,tangent:C=8",
        "tangent:C=8",
    ]


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ("size=303", "ACT_DETR_LADDER: size=303: fake has size 352; 304 to 351 pixels are allowed"),
        ("size=352", "304 to 351 pixels are allowed"),
        ("size=", "ACT_DETR_LADDER: 'size=' is not size=PIXELS, an attention, or size=PIXELS,ATTENTION"),
        ("size=304;", "'' is not size=PIXELS"),
        ("size=304, tangent", "'size=304, tangent' is not size=PIXELS"),
        ("auto", "the mode must be one of exact, act"),
        ("tangent:C=0", "C must be between 1 and 4096, not 0"),
        ("tangent:L=3", "'L=3' is not an option of tangent"),
        ("merge:ratio=0.9", "ratio must be between 0 and 0.75, not 0.9"),
        ("kmeans:C=8", "kmeans is the baseline of evaluations only"),
    ],
)
def test_what_the_model_cannot_do_is_refused(detector: Any, ladder: str, message: str) -> None:
    with pytest.raises(BadSettings) as refusal:
        rungs_of(detector, ladder)
    assert message in str(refusal.value)


def test_attention_that_does_not_apply_is_refused(detector: Any) -> None:
    detector.family = Family("rt_detr", "transformers", modes=("exact",), note="it attends sparsely.")
    with pytest.raises(BadSettings, match="tangent attention does not apply to this model"):
        rungs_of(detector, "tangent:C=8")


def test_a_model_of_one_size_needs_a_ladder(detector: Any) -> None:
    detector.config = replace(detector.config, trained_sides=None)
    with pytest.raises(BadSettings, match="set ACT_DETR_LADDER"):
        rungs_of(detector)
    with pytest.raises(BadSettings, match="it takes its own size only"):
        rungs_of(detector, "size=304")
    assert rungs_of(detector, "tangent:C=8") == (Rung(attention=TANGENT(8)),)


def test_every_rung_is_measured_at_every_shape_and_equal_ones_once(detector: Any) -> None:
    ticks = count()
    times = measure_rungs(detector, (Rung(), Rung(304), Rung(304, TANGENT(8)), Rung(304)), lambda: next(ticks))
    assert times.pixels == (640 * 80, 352 * 352, 352 * 640)
    assert times.seconds == ((1.0,) * 4,) * 3  # every call takes one tick
    rounds = 1 + MAX_ROUNDS
    # The fake detector makes one size of all shapes. Rungs 1 and 3 are the same.
    assert Counter(str(attention) for _, attention in detector.batches) == {
        "tangent:C=16": 2 * rounds,
        "tangent:C=8": rounds,
    }


def test_times_lie_between_those_that_were_measured() -> None:
    times = RungTimes((100, 300), ((1.0, 0.5), (3.0, 2.0)))
    assert times.at(200) == (2.0, 1.25)
    assert (times.at(10), times.at(10**6)) == ((1.0, 0.5), (3.0, 2.0))
