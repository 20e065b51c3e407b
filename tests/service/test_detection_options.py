from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.config import AttentionConfig, DetrConfig
from service.detection_options import DetectionDefaults, DetectionOptions, DetectQuery, resolve_options
from service.errors import BadParameter
from service.settings import Settings

CONFIG = DetrConfig("x", ("a", "b"), act_L=16, act_r=1.0, tangent_C=24, nms=0.7)
KNOWN = ("knife", "fork", "knife, fork", "salt,pepper,oil", "caf\u00e9", "pepper")


class Model:
    config = CONFIG
    labels = ("a", "b")


def resolved(query: DetectQuery, arrival: float = 0.0, **settings: Any) -> DetectionOptions:
    model: Any = Model()
    return resolve_options(query, DetectionDefaults.of(Settings(**settings), model), arrival)


def labels(*requested: str, known: tuple[str, ...] = KNOWN) -> frozenset[str] | None:
    defaults = DetectionDefaults("exact", 32, 8.0, 32, 0.5, 100, None, 1000.0, known)
    return resolve_options(DetectQuery(labels=list(requested)), defaults, 0.0).labels


def test_defaults_come_from_the_settings_and_then_from_the_model() -> None:
    plain = resolved(DetectQuery(), arrival=5.0)
    assert plain.attention is None
    assert plain.reason == "the default of this service"
    assert (plain.threshold, plain.max_detections, plain.nms, plain.labels) == (0.5, 100, 0.7, None)
    assert plain.deadline == 35.0
    set_up = resolved(DetectQuery(), attention="act", l=9, nms=1.0, threshold=0.0, max_detections=3, deadline_ms=500)
    assert set_up.attention == AttentionConfig.act(9, 1.0)
    assert (set_up.threshold, set_up.max_detections, set_up.nms, set_up.deadline) == (0.0, 3, 1.0, 0.5)


def test_a_query_overrides_the_defaults() -> None:
    query = DetectQuery(attention="auto", threshold=0.0, max_detections=1, nms=0.1, labels=["b"], deadline_ms=1000)
    options = resolved(query, threshold=0.9)
    assert options.attention is None
    assert resolved(DetectQuery(attention="act")).reason == "asked for"
    assert (options.threshold, options.max_detections, options.nms, options.labels) == (0.0, 1, 0.1, {"b"})
    assert options.deadline == 1.0


@pytest.mark.parametrize("options", [{}, {"L": 24}, {"r": 2.0}])
def test_options_mean_the_same_in_a_request_as_on_the_command_line(options: dict[str, float]) -> None:
    text = ",".join(f"{name}={value}" for name, value in options.items())
    attention = resolved(DetectQuery(attention="act", **options)).attention
    assert attention == CONFIG.attention(f"act:{text}") != AttentionConfig.act()
    assert resolved(DetectQuery(attention="tangent")).attention == CONFIG.attention("tangent")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"L": 16}, "`L` is only valid with attention=act; this request uses auto"),
        ({"attention": "auto", "L": 16, "r": 8}, "`L` and `r` are only valid with attention=act"),
        ({"attention": "tangent", "L": 8}, "`L` is only valid with attention=act; this request uses tangent"),
        ({"attention": "act", "C": 16}, "`C` is only valid with attention=tangent; this request uses act"),
        ({"attention": "exact", "L": 8, "C": 16}, "`L` is only valid with attention=act"),
    ],
)
def test_an_option_of_another_attention_mode_is_refused(query: dict[str, Any], detail: str) -> None:
    with pytest.raises(BadParameter, match=detail):
        resolved(DetectQuery(**query))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("attention", ["kmeans", ""]),
        ("L", [0, 65, 1.5, ""]),
        ("r", [0, -1, "nan", "inf", "1e999"]),
        ("C", [0, 4097]),
        ("threshold", [-0.1, 1.1, "NaN"]),
        ("max_detections", [0, 10**20]),
        ("nms", [0, 1.01, "nan"]),
        ("deadline_ms", [0, -5, "Infinity"]),
        ("treshold", [0.5]),
        ("c", [16]),
        ("centres", [4]),
    ],
)
def test_values_out_of_range_and_unknown_names_are_invalid(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValidationError) as invalid:
            DetectQuery(**{name: value})
        assert [row["loc"] for row in invalid.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    ("requested", "names"),
    [
        (("knife",), {"knife"}),
        (("knife,fork",), {"knife", "fork"}),
        (("knife", " fork "), {"knife", "fork"}),
        (("knife, fork",), {"knife, fork"}),
        (("salt,pepper,oil",), {"salt,pepper,oil"}),
        (("pepper,salt,pepper,oil,knife, fork,fork",), {"pepper", "salt,pepper,oil", "knife, fork", "fork"}),
        (("cafe\u0301,fork",), {"caf\u00e9", "fork"}),
        ((), None),
    ],
)
def test_labels_are_split_at_commas_except_within_a_known_name(requested: tuple[str, ...], names: set[str]) -> None:
    assert labels(*requested) == names


def test_labels_are_spelled_as_the_model_spells_them() -> None:
    assert labels("caf\u00e9", known=("cafe\u0301",)) == {"cafe\u0301"}


@pytest.mark.parametrize("requested", ["salt", "salt,pepper", "knife,fork,cat", "Knife", ",".join(["x"] * 100_000)])
def test_unknown_labels_are_refused_with_the_known_ones(requested: str) -> None:
    with pytest.raises(BadParameter, match=r"has no class .*; its classes are knife, fork"):
        labels(requested)


@pytest.mark.parametrize("requested", ["", " ", "knife,", ",knife", "knife,,fork"])
def test_empty_labels_are_refused(requested: str) -> None:
    with pytest.raises(BadParameter, match="a name is empty"):
        labels(requested)
