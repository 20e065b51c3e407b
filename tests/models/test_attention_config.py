import pytest

from models.attention_config import AttentionConfig


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "linear"},
        {"L": 0},
        {"L": 65},
        {"r": 0.0},
        {"r": -1.0},
        {"r": float("inf")},
        {"r": float("nan")},
        {"C": 0},
        {"C": 4097},
        {"expansion_points": 33},
        {"expansion_points": -1},
        {"rounds": -1},
        {"rounds": 101},
        {"metric": "cosine"},
    ],
)
def test_attention_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        AttentionConfig(**bad)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exact", AttentionConfig.exact()),
        ("act:L=32,r=8", AttentionConfig.act()),
        ("act:L=16,r=2.5", AttentionConfig.act(16, 2.5)),
        ("act:L=32,r=8,seed=3,metric=key", AttentionConfig.act(seed=3, metric="key")),
        ("kmeans:C=64,rounds=10", AttentionConfig.kmeans(64, 10)),
        ("tangent:C=16,expansion_points=4", AttentionConfig.tangent(16, 4)),
        ("merge:ratio=0.5", AttentionConfig.merge()),
        ("merge:ratio=0.75,C=16", AttentionConfig.merge(0.75, 16)),
        ("merge:ratio=0", AttentionConfig.merge(0)),
    ],
)
def test_attention_is_written_and_read_as_text(text, expected):
    assert AttentionConfig.parse(text) == expected
    assert str(expected) == text


def test_options_that_are_left_out_take_their_defaults():
    assert AttentionConfig.parse("act:r=2") == AttentionConfig.act(r=2.0)
    assert AttentionConfig.parse("tangent").metric == "key"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linear",
        "exact:L=3",
        "act:K=3",
        "act:L",
        "act:L=16,L=16",
        "act:L=0",
        "act:L=two",
        "kmeans:r=2",
        "kmeans:C=0",
        "merge:ratio=0.8",
        "merge:ratio=-0.1",
        "merge:ratio=nan",
        "merge:C=-1",
        "merge:r=2",
    ],
)
def test_text_that_is_no_attention_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        AttentionConfig.parse(text)


def test_equal_attention_may_share_a_batch():
    assert hash(AttentionConfig.act(16, 8.0)) == hash(AttentionConfig("act", 16, 8.0, 0))


def test_what_is_left_after_merging_attends_exactly_or_by_tangents():
    assert AttentionConfig.merge(0.5).in_layers == AttentionConfig.exact()
    assert AttentionConfig.merge(0.5, 8).in_layers == AttentionConfig.tangent(8)
    act = AttentionConfig.act(16, 2.0)
    assert act.in_layers == act
