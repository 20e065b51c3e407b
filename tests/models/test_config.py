from dataclasses import replace

import pytest

from models.attention_config import AttentionConfig
from models.config import BackboneConfig, BoxRefinementConfig, DetrConfig, VouchedAttention
from models.named_models import pages_small
from models.resizing import Resizing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exact", AttentionConfig.exact()),
        ("act", AttentionConfig.act(16, 1.0)),
        ("act:r=2", AttentionConfig.act(16, 2.0)),
        ("act:L=24,seed=3", AttentionConfig.act(24, 1.0, 3)),
        ("act:L=32,r=8", AttentionConfig.act(32, 8.0)),
        ("tangent", AttentionConfig.tangent(24)),
        ("tangent:expansion_points=4", AttentionConfig.tangent(24, 4)),
        ("tangent:C=8", AttentionConfig.tangent(8)),
        ("kmeans", AttentionConfig.kmeans()),
        ("merge", AttentionConfig.merge(0.25)),
        ("merge:C=8", AttentionConfig.merge(0.25, 8)),
        ("merge:ratio=0.5", AttentionConfig.merge(0.5)),
    ],
)
def test_options_that_are_left_out_are_the_models_own_where_it_has_any(text, expected):
    config = DetrConfig("x", ("a",), act_L=16, act_r=1.0, tangent_C=24, merge_ratio=0.25)
    assert config.attention(text) == expected
    assert config.attention("act") == config.default_act
    assert config.attention("tangent") == config.default_tangent
    assert config.attention("merge") == config.default_merge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("act", AttentionConfig.act(16, 2.0, metric="key")),
        ("act:L=24", AttentionConfig.act(24, 2.0, metric="key")),
        ("act:r=4", AttentionConfig.act(32, 4.0)),
        ("act:metric=query", AttentionConfig.act(32, 8.0)),
        ("act:L=16,r=8", AttentionConfig.act(16, 8.0)),
        ("act:r=4,metric=key", AttentionConfig.act(16, 4.0, metric="key")),
        ("tangent:metric=query", AttentionConfig.tangent(32, metric="query")),
    ],
)
def test_an_r_without_a_metric_is_the_papers_though_the_models_own_is_in_logits(text, expected):
    untuned = DetrConfig("x", ("a",)).untuned()
    assert untuned.attention(text) == expected
    assert untuned.attention(str(expected)) == expected


def test_a_tuned_model_in_logits_has_the_settings_of_the_untuned():
    tuned = DetrConfig("x", ("a",), act_L=16, act_r=1.0)
    assert tuned.attention("act:metric=key") == AttentionConfig.act(16, 2.0, metric="key")
    assert tuned.attention("act:metric=query") == tuned.default_act == AttentionConfig.act(16, 1.0)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="act_metric must be one of query, key, not 'value'"):
        DetrConfig("x", ("a",), act_metric="value")
    with pytest.raises(ValueError, match="metric must be one of query, key, not 'value'"):
        DetrConfig("x", ("a",)).attention("act:metric=value")


@pytest.mark.parametrize("text", ["", "linear", "act:L=0", "act:K=3", "tangent:expansion_points=25"])
def test_a_model_refuses_text_that_is_no_attention(text):
    with pytest.raises(ValueError, match=r".+"):
        DetrConfig("x", ("a",), tangent_C=24).attention(text)


def test_labels_have_their_accents_in_one_form():
    assert DetrConfig("x", ("cafe\u0301", None, "a")).labels == ("caf\u00e9", None, "a")


def test_shapes_that_do_not_fit_are_refused():
    backbone = BackboneConfig("basic", (1,))
    with pytest.raises(ValueError, match="heads"):
        DetrConfig("x", ("a",), backbone, hidden_dim=30, heads=4)
    with pytest.raises(ValueError, match="divide by 4"):
        DetrConfig("x", ("a",), backbone, hidden_dim=30, heads=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reaches": ()},
        {"reaches": ((0.1, 0.0),)},
        {"reaches": ((-0.1, 2.0),)},
        {"bins": 1},
        {"bins_along": 0},
        {"least_score": 1.1},
    ],
)
def test_box_refinement_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"reaches|bins|least_score"):
        BoxRefinementConfig(**wrong)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("exact", 0.0, 0.5), "of mode act, tangent or merge"),
        (("kmeans:C=8", 0.0, 0.5), "of mode act, tangent or merge"),
        (("window", 0.0, 0.5), "mode must be one of"),
        (("tangent:C=16", float("nan"), 0.5), "ap_lost"),
        (("tangent:C=16", 0.0, 0.0), "cluster_ratio"),
        (("act:L=16,r=1", 0.0, 1.5), "cluster_ratio"),
    ],
)
def test_attention_that_cannot_be_vouched_for_is_refused(bad, reason):
    with pytest.raises(ValueError, match=reason):
        VouchedAttention(*bad)


def test_attention_is_vouched_for_once():
    twice = (VouchedAttention("tangent", 0.0, 0.1), VouchedAttention("tangent:C=32", 0.001, 0.1))
    with pytest.raises(ValueError, match="twice"):
        DetrConfig("x", ("a",), vouched=twice)


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({}, (304, 416)),
        ({"trained_sides": None}, (352, 352)),
        ({"shortest_side": 300}, (300, 416)),
        ({"shortest_side": 500}, (304, 500)),
        ({"resizing": Resizing("sides", canvas=(999, 999))}, (304, 416)),
        ({"resizing": Resizing("exact", (300, 400))}, (352, 352)),
    ],
)
def test_sides_are_those_of_the_training_and_the_models_own(changes, sides):
    assert replace(pages_small(), **changes).sides == sides


def test_the_longest_side_keeps_its_proportion():
    config = pages_small()
    assert config.resized_to(352) is config
    resized = config.resized_to(304)
    assert (resized.shortest_side, resized.longest_side) == (304, round(304 * 640 / 352))
    assert replace(resized, shortest_side=352, longest_side=640) == config


def test_a_model_merges_three_quarters_at_most():
    with pytest.raises(ValueError, match=r"merge_ratio must be between 0 and 0\.75, not 0\.8"):
        DetrConfig("x", ("a",), merge_ratio=0.8)
