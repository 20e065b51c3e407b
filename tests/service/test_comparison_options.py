from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.networks.network import Family
from service.comparison_options import CompareQuery, resolve_sides
from service.detection_options import DetectionDefaults, DetectionOptions
from service.errors import BadParameter
from service.settings import Settings

CONFIG = DetrConfig("x", ("a", "b"), act_L=16, act_r=1.0, tangent_C=24, nms=0.7, trained_sides=(480, 1000))


class Model:
    config = CONFIG
    labels = ("a", "b")
    family = Family("detr", "act-detr")
    mask_refusal: str | None = "no masks"


class SampledModel(Model):
    family = Family("deformable_detr", "transformers", ("exact",), "it looks at sampled points")


def sides(model: Any = None, arrival: float = 0.0, **query: Any) -> tuple[DetectionOptions, DetectionOptions]:
    defaults = DetectionDefaults.of(Settings(attention="act"), model or Model())
    resolved = resolve_sides(CompareQuery(**query), defaults, arrival)
    assert list(resolved) == ["left", "right"]
    return resolved["left"], resolved["right"]


def attentions(**query: Any) -> tuple[AttentionConfig | None, AttentionConfig | None]:
    left, right = sides(**query)
    return left.attention, right.attention


def test_each_side_attends_as_it_says_with_the_services_options() -> None:
    assert attentions(left="exact", right="tangent") == (AttentionConfig.exact(), AttentionConfig.tangent(24))
    assert attentions(left="act", right="auto") == (AttentionConfig.act(16, 1.0), None)


def test_a_side_may_have_options_of_its_own() -> None:
    left, right = attentions(left="tangent:C=4", right="act:L=3,r=2,metric=key")
    assert left == AttentionConfig.tangent(4)
    assert right == AttentionConfig.act(3, 2.0, metric="key")


def test_options_for_both_are_of_the_sides_that_have_them_and_do_not_set_them() -> None:
    assert attentions(left="exact", right="tangent", C=16)[1] == AttentionConfig.tangent(16)
    assert attentions(left="tangent:C=4", right="tangent", C=16) == (
        AttentionConfig.tangent(4),
        AttentionConfig.tangent(16),
    )
    left, right = attentions(left="act", right="tangent", metric="query", L=5)
    assert (left, right) == (AttentionConfig.act(5, 1.0), AttentionConfig.tangent(24, metric="query"))


def test_all_else_is_of_both_sides_but_a_size_may_be_of_one() -> None:
    query = {"left": "exact", "right": "exact", "threshold": 0.2, "labels": ["b"], "deadline_ms": 500, "tiles": "1x2"}
    left, right = sides(arrival=3.0, right_size=480, **query)
    assert (left.size, right.size) == (800, 480)
    for side in (left, right):
        assert (side.threshold, side.labels, side.deadline, side.tiles) == (0.2, {"b"}, 3.5, (1, 2))
        assert (side.reason, side.masks) == ("asked for", None)
    assert [side.size for side in sides(left="exact", right="act", size=600, left_size=700)] == [700, 600]


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ({"left": "exakt"}, "left", "left: 'exakt': the mode must be one of exact, act, tangent, merge, auto"),
        ({"right": "kmeans:C=3"}, "right", "the mode must be one of exact, act, tangent, merge, auto"),
        ({"left": "tangent:L=3"}, "left", "'L=3' is not an option of tangent"),
        ({"left": "act:L=65"}, "left", "left: L must be between 1 and 64, not 65"),
        ({"left": "act:L=x"}, "left", "'x' is no value for L"),
        ({"left": "merge:ratio=0.8"}, "left", "left: ratio must be between 0 and 0.75, not 0.8"),
        ({"ratio": 0.5}, "ratio", "ratio: it is only valid with merge on a side; this request compares exact and"),
        ({"left": "auto:C=3"}, "left", "auto chooses its options itself"),
        ({"left": "tangent:rounds=100"}, "left", "rounds is not an option of requests"),
        ({"L": 3}, "L", "L: it is only valid with act on a side; this request compares exact and tangent"),
        ({"left": "tangent:C=2", "right": "tangent:C=3", "C": 4}, "C", "every side that has it sets it itself"),
        ({"right_size": 479}, "right_size", "right_size: must be between 480 and 1000 pixels here, not 479"),
        ({"size": 1001}, "size", "size: must be between 480 and 1000"),
        ({"labels": ["cat"]}, "labels", "the model has no class 'cat'"),
    ],
)
def test_bad_parameters_are_named(query: dict[str, Any], parameter: str, detail: str) -> None:
    full = {"left": "exact", "right": "tangent"} | query
    with pytest.raises(BadParameter) as error:
        sides(**full)
    assert error.value.members["parameter"] == parameter
    assert detail in str(error.value)


def test_a_mode_that_does_not_apply_to_the_model_is_refused() -> None:
    with pytest.raises(BadParameter, match=r"right: tangent attention does not apply .* sampled points; use exact or"):
        sides(SampledModel(), left="exact", right="tangent")


@pytest.mark.parametrize("query", [{}, {"right": "act"}, {"left": "act", "right": "act", "masks": "rle"}])
def test_both_sides_are_needed_and_nothing_unknown(query: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CompareQuery(**query)
