from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.networks.network import Family
from service.detection_options import DetectionDefaults, DetectionOptions, DetectQuery, resolve_options
from service.errors import BadParameter
from service.settings import Settings

CONFIG = DetrConfig("x", ("a", "b"), act_L=16, act_r=1.0, tangent_C=24, nms=0.7, trained_sides=(480, 1000))
KNOWN = ("knife", "fork", "knife, fork", "salt,pepper,oil", "caf\u00e9", "pepper")


SAMPLED = Family("deformable_detr", "transformers", ("exact",), "it looks at sampled points")


class Model:
    config = CONFIG
    labels = ("a", "b")
    family = Family("detr", "act-detr")
    mask_refusal: str | None = None


class SampledModel(Model):
    family = SAMPLED


def resolved(query: DetectQuery, arrival: float = 0.0, **settings: Any) -> DetectionOptions:
    model: Any = Model()
    return resolve_options(query, DetectionDefaults.of(Settings(**settings), model), arrival)


def labels(*requested: str, known: tuple[str, ...] = KNOWN) -> frozenset[str] | None:
    model: Any = Model()
    defaults = replace(DetectionDefaults.of(Settings(), model), labels=known)
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


def test_size_and_tiles_are_the_models_own_and_none_unless_asked_for() -> None:
    plain = resolved(DetectQuery())
    assert (plain.size, plain.tiles, plain.max_tiles) == (800, None, 32)
    asked = resolved(DetectQuery(size=480, tiles="2x3"), max_tiles=6)
    assert (asked.size, asked.tiles, asked.max_tiles) == (480, (2, 3), 6)
    assert resolved(DetectQuery(tiles="auto"), max_tiles=1).tiles == "auto"


@pytest.mark.parametrize(("max_size", "largest"), [(None, 1000), (2000, 1000), (900, 900), (800, 800), (500, 800)])
def test_sizes_are_the_models_as_far_as_the_setting_allows_more_than_its_own(
    max_size: int | None, largest: int
) -> None:
    for size in (480, largest):
        assert resolved(DetectQuery(size=size), max_size=max_size).size == size
    for size in (479, largest + 1):
        with pytest.raises(BadParameter, match=f"size: must be between 480 and {largest} pixels here, not {size}"):
            resolved(DetectQuery(size=size), max_size=max_size)


def test_a_model_of_one_size_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "config", replace(CONFIG, trained_sides=None))
    assert resolved(DetectQuery(size=800)).size == 800
    with pytest.raises(BadParameter, match="size: must be 800 pixels here, not 799"):
        resolved(DetectQuery(size=799))


def test_more_tiles_than_allowed_are_refused() -> None:
    with pytest.raises(BadParameter, match="tiles: 4x9 are 36 tiles; 32 are allowed") as refused:
        resolved(DetectQuery(tiles="4x9"))
    assert refused.value.members["parameter"] == "tiles"


@pytest.mark.parametrize("config", [CONFIG, CONFIG.untuned()])
@pytest.mark.parametrize("options", [{}, {"L": 24}, {"r": 2.5}, {"metric": "key"}, {"metric": "query", "L": 20}])
def test_options_mean_the_same_in_a_request_as_on_the_command_line(
    options: dict[str, Any], config: DetrConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "config", config)
    text = ",".join(f"{name}={value}" for name, value in options.items())
    attention = resolved(DetectQuery(attention="act", **options)).attention
    assert attention == config.attention(f"act:{text}") != AttentionConfig.act()
    assert resolved(DetectQuery(attention="tangent")).attention == config.attention("tangent")


def test_merging_takes_the_settings_ratio_or_the_models_and_clusters_nothing_by_itself() -> None:
    assert resolved(DetectQuery(attention="merge")).attention == AttentionConfig.merge(CONFIG.merge_ratio)
    assert resolved(DetectQuery(attention="merge"), ratio=0.25, c=8).attention == AttentionConfig.merge(0.25)
    asked = resolved(DetectQuery(attention="merge", ratio=0, C=16), ratio=0.25).attention
    assert asked == AttentionConfig.merge(0, 16)


def test_an_r_is_the_papers_unless_its_metric_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "config", CONFIG.untuned())
    assert resolved(DetectQuery(attention="act")).attention == AttentionConfig.act(16, 2.0, metric="key")
    assert resolved(DetectQuery(attention="act", r=3)).attention == AttentionConfig.act(32, 3.0)
    in_logits = DetectQuery(attention="act", r=3, metric="key")
    assert resolved(in_logits).attention == AttentionConfig.act(16, 3.0, metric="key")
    assert resolved(in_logits, r=5.0).attention == AttentionConfig.act(16, 3.0, metric="key")
    assert resolved(DetectQuery(attention="act"), r=5.0).attention == AttentionConfig.act(32, 5.0)
    tangent = DetectQuery(attention="tangent", metric="query")
    assert resolved(tangent).attention == AttentionConfig.tangent(24, metric="query")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"L": 16}, "`L` is only valid with attention=act; this request uses auto"),
        ({"attention": "auto", "L": 16, "r": 8}, "`L` and `r` are only valid with attention=act"),
        ({"attention": "tangent", "L": 8}, "`L` is only valid with attention=act; this request uses tangent"),
        ({"attention": "act", "C": 16}, "`C` is only valid with attention=tangent or attention=merge; this request"),
        (
            {"attention": "tangent", "ratio": 0.5},
            "`ratio` is only valid with attention=merge; this request uses tangent",
        ),
        ({"attention": "merge", "metric": "key"}, "`metric` is only valid with attention=act or attention=tangent"),
        ({"attention": "exact", "L": 8, "C": 16}, "`L` is only valid with attention=act"),
        ({"metric": "key"}, "`metric` is only valid with attention=act or attention=tangent; this request uses auto"),
        ({"attention": "exact", "metric": "key"}, "`metric` is only valid with attention=act or attention=tangent"),
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
        ("ratio", [-0.1, 0.76, float("nan")]),
        ("metric", ["value", "", "Key"]),
        ("threshold", [-0.1, 1.1, "NaN"]),
        ("max_detections", [0, 10**20]),
        ("nms", [0, 1.01, "nan"]),
        ("deadline_ms", [0, -5, "Infinity"]),
        ("size", [0, -1, 1.5, 10_001, "auto"]),
        ("tiles", ["", "2", "0x2", "2x0", "2x2x2", "Auto", "auto\n", "99999x1"]),
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


def test_attention_that_the_model_does_not_have_is_refused_with_the_reason() -> None:
    model: Any = SampledModel()
    for mode in ("act", "tangent"):
        with pytest.raises(BadParameter, match=rf"{mode} attention does not apply.*sampled points; use exact or auto"):
            resolve_options(DetectQuery(attention=mode), DetectionDefaults.of(Settings(), model), 0.0)
    plain = resolve_options(DetectQuery(), DetectionDefaults.of(Settings(), model), 0.0)
    assert plain.attention is None
    exact = resolve_options(DetectQuery(attention="exact"), DetectionDefaults.of(Settings(), model), 0.0)
    assert exact.attention == AttentionConfig.exact()


@pytest.mark.parametrize("mode", ["act", "tangent"])
def test_a_default_that_does_not_apply_becomes_exact(mode: Any) -> None:
    model: Any = SampledModel()
    options = resolve_options(DetectQuery(), DetectionDefaults.of(Settings(attention=mode), model), 0.0)
    assert options.attention == AttentionConfig.exact()
    assert options.reason == "the default of this service"


def test_masks_are_given_in_the_form_asked_for() -> None:
    assert resolved(DetectQuery()).masks is None
    assert resolved(DetectQuery(masks="rle")).masks == "rle"
    with pytest.raises(ValidationError):
        DetectQuery.model_validate({"masks": "bitmap"})


def test_masks_are_refused_by_a_model_without_any_and_with_tiles() -> None:
    with pytest.raises(BadParameter, match="cannot be combined with tiles"):
        resolved(DetectQuery(masks="rle", tiles="auto"))
    model: Any = Model()
    defaults = replace(DetectionDefaults.of(Settings(), model), mask_refusal="x gives no masks: others do")
    with pytest.raises(BadParameter, match="masks: x gives no masks: others do") as error:
        resolve_options(DetectQuery(masks="polygons"), defaults, 0.0)
    assert error.value.members["parameter"] == "masks"
    assert resolve_options(DetectQuery(), defaults, 0.0).masks is None
