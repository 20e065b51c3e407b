import pytest

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.reproduction.rivals import Grid, family, rivals
from models.tuning.bucket_width import bucket_widths, cluster_ratio, hashed_queries


@pytest.fixture
def layers(tiny_detr):
    detector = Detector(tiny_detr)
    (sample,) = PageSamples(1, 128, 96)
    return attention_inputs(detector, detector.encoder_tokens(detector.preprocess(sample.image)))


@pytest.mark.parametrize("metric", ["query", "key"])
def test_widths_lead_to_the_wanted_clusters(layers, metric):
    wanted = (0.2, 0.4, 0.6)
    widths = bucket_widths(layers, 8, wanted, metric)
    assert widths == sorted(widths, reverse=True)
    hashed = [hashed_queries(layer, metric) for layer in layers]
    measured = [sum(cluster_ratio(x, 8, r, 0) for x in hashed) / len(hashed) for r in widths]
    assert measured == pytest.approx(wanted, abs=0.1)


def test_each_setting_comes_once_and_seeds_where_they_matter(layers):
    grid = Grid(rounds=(8, 4), ratios=(0.3,), key_ratios=(0.3,), kmeans_ratios=(0.5,), clusters=(8, 128), seeds=2)
    kinds = rivals(layers, grid)
    assert len(set(kinds)) == len(kinds)
    assert kinds[0] == AttentionConfig.exact()
    assert {kind.seed for kind in kinds if kind.mode == "act" and kind.L == 4} == {0, 1}
    assert {kind.seed for kind in kinds if kind.mode == "act" and kind.L == 8} == {0}
    assert sum(kind.mode == "act" and kind.r == 8 and kind.metric == "query" for kind in kinds) == 2
    assert {kind.C for kind in kinds if kind.mode == "kmeans"} == {8, 44, 88}  # never more than tokens
    assert AttentionConfig.tangent(88, expansion_points=16) in kinds


def test_families_are_the_lines_of_a_plot():
    texts = ("exact", "act:L=16,r=2,seed=2", "act:L=16,r=1,metric=key", "kmeans:C=4", "kmeans:C=4,metric=key")
    assert [family(AttentionConfig.parse(text)) for text in texts] == [
        "exact",
        "ACT, L = 16",
        "ACT, key-aware",
        "K-means",
        "K-means, key-aware",
    ]
    assert family(AttentionConfig.tangent(32)) == "tangent"
    assert family(AttentionConfig.tangent(32, expansion_points=16)) == "tangent, 16 centres"
