import pytest

from models.attention_config import AttentionConfig
from models.data.samples import PageSamples
from models.reproduction.inputs import calibration_layers
from models.reproduction.sweep import SweepGrid, attention_settings, family


def test_a_sweep_has_each_setting_once_and_seeds_where_they_vary(detector):
    layers = calibration_layers(detector, PageSamples(1, 128, 96))
    grid = SweepGrid(
        rounds=(8, 4),
        ratios=(0.3,),
        key_ratios=(0.3,),
        kmeans_ratios=(0.5,),
        clusters=(8, 128),
        merging=((0.25, 0), (0.5, 4)),
        seeds=2,
    )
    settings = attention_settings(layers, grid)
    assert len(set(settings)) == len(settings)
    assert settings[0] == AttentionConfig.exact()
    assert {one.seed for one in settings if one.mode == "act" and one.L == 4} == {0, 1}
    assert {one.seed for one in settings if one.mode == "act" and one.L == 8} == {0}
    assert sum(one.mode == "act" and one.r == 8 and one.metric == "query" for one in settings) == 2
    assert {one.C for one in settings if one.mode == "kmeans"} == {8, 44, 88}  # at most the number of tokens
    assert AttentionConfig.tangent(88, expansion_points=16) in settings
    assert [str(one) for one in settings[-2:]] == ["merge:ratio=0.25", "merge:ratio=0.5,C=4"]


@pytest.mark.parametrize(
    ("attention", "name"),
    [
        ("exact", "exact"),
        ("act:L=16,r=2,seed=2", "ACT, L = 16"),
        ("act:L=16,r=1,metric=key", "ACT, key-aware"),
        ("kmeans:C=4", "K-means"),
        ("kmeans:C=4,metric=key", "K-means, key-aware"),
        ("tangent:C=32", "tangent"),
        ("tangent:C=32,expansion_points=16", "tangent, 16 expansion points"),
        ("merge:ratio=0.25", "merging"),
        ("merge:ratio=0.5,C=16", "merging and tangent"),
    ],
)
def test_a_family_is_a_line_of_a_plot(attention, name):
    assert family(attention) == name
