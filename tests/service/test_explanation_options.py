from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.networks.network import Family
from service.detection_options import DetectionDefaults
from service.errors import BadParameter
from service.explanation_options import ExplainQuery, ExplanationOptions, resolve_explanation
from service.settings import Settings


class Model:
    name = "x"
    config = DetrConfig("x", ("a", "b"), encoder_layers=3, heads=4, trained_sides=(480, 1000))
    labels = ("a", "b")
    family = Family("detr", "act-detr")
    mask_refusal: str | None = "no masks"


class SampledModel(Model):
    family = Family("deformable_detr", "transformers", ("exact",), "it looks at sampled points")


def resolve(model: Any = None, arrival: float = 0.0, **query: Any) -> ExplanationOptions:
    model = model or Model()
    return resolve_explanation(ExplainQuery(**query), DetectionDefaults.of(Settings(), model), model, arrival)


def test_without_parameters_it_is_the_first_head_of_the_first_layer_as_detection_runs() -> None:
    options = resolve(arrival=5.0)
    assert (options.layer, options.head, options.point, options.view) == (0, 0, None, None)
    assert (options.run.attention, options.run.reason) == (None, "the default of this service")
    assert options.run.deadline == 5.0 + Settings().deadline_ms / 1e3


def test_settings_of_the_run_are_those_of_a_detection() -> None:
    run = resolve(attention="tangent", C=7, size=640, deadline_ms=100, layer=2, head=3).run
    assert (run.attention, run.size, run.deadline, run.tiles) == (AttentionConfig.tangent(7), 640, 0.1, None)


def test_load_makes_no_explanation_cheaper() -> None:
    assert not resolve().run.may_be_cheaper


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"layer": 3}, "layer: must be between 0 and 2 here, not 3"),
        ({"head": 4}, "head: must be between 0 and 3 here, not 4"),
        ({"x": 1.0}, "y: is missing"),
        ({"y": 1.0}, "x: is missing"),
        ({"view": "approximate"}, "view: approximate shows the attention of a point"),
        ({"attention": "act", "C": 3}, "`C` is only valid with attention=tangent"),
        ({"size": 479}, "size: must be between 480 and 1000"),
    ],
)
def test_what_does_not_go_together_is_refused(query: dict[str, Any], detail: str) -> None:
    with pytest.raises(BadParameter, match=detail):
        resolve(**query)


@pytest.mark.parametrize("query", [{"layer": -1}, {"x": -1}, {"y": float("inf")}, {"view": "all"}, {"masks": "rle"}])
def test_values_out_of_range_are_refused(query: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExplainQuery(**query)


def test_a_model_that_cannot_be_explained_says_why() -> None:
    with pytest.raises(BadParameter, match=r"x \(deformable_detr\) has no attention to explain: it looks at sampled"):
        resolve(SampledModel())
