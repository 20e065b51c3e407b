import pytest

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.evaluate import EXACT, evaluate
from models.reproduction.layer_clusters import errors_by_layer
from models.reproduction.shared_clusters import BY_LAYER, UNIFORM, compare_sharing

PAGES = PageSamples(2, 128, 96)
CLUSTERS = (2, 4, 8, 16)


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def compared(detector):
    tokens = (detector.encoder_tokens(detector.preprocess(sample.image)) for sample in PAGES)
    errors = errors_by_layer(detector, tokens, CLUSTERS)
    return compare_sharing(detector, PAGES, errors, CLUSTERS, (4, 8), 10)


def test_both_ways_cost_the_same(compared):
    rows, gains = compared
    assert [row.kind for row in rows] == [UNIFORM, BY_LAYER] * 2
    assert [row.mean for row in rows] == [4, 4, 8, 8]
    for uniform, by_layer in (rows[:2], rows[2:]):
        assert uniform.clusters == (uniform.mean,) * 2
        assert sum(by_layer.clusters) == sum(uniform.clusters)
        assert by_layer.cost == pytest.approx(uniform.cost)
        assert by_layer.predicted <= uniform.predicted
    assert [gain.mean for gain in gains] == [4, 8]


def test_one_c_for_all_is_what_an_evaluation_says_of_it(detector, compared):
    rows, _ = compared
    _, tangent = evaluate(detector, PAGES, (EXACT, AttentionConfig.tangent(8)))
    uniform = rows[2]
    assert uniform.ap == tangent.metrics.ap
    assert uniform.encoder_error == pytest.approx(tangent.fidelity.encoder_error, rel=1e-3)
    assert uniform.cost == pytest.approx(tangent.gflops.attention / tangent.exact_gflops.attention)


def test_gains_are_those_between_the_rows(compared):
    rows, gains = compared
    for gain, uniform, by_layer in zip(gains, rows[::2], rows[1::2], strict=True):
        assert gain.ap == pytest.approx(100 * (by_layer.ap - uniform.ap))
        assert gain.deviation >= 0
        if uniform.clusters == by_layer.clusters:
            assert (gain.error, gain.chance.error) == (0, 0)
        elif gain.deviation < 0.01:
            assert gain.error == pytest.approx(1 - by_layer.encoder_error / uniform.encoder_error, abs=0.05)
    assert any(uniform.clusters != by_layer.clusters for uniform, by_layer in zip(rows[::2], rows[1::2], strict=True))


def test_refuses_no_images(detector):
    errors = errors_by_layer(
        detector, [detector.encoder_tokens(detector.preprocess(next(iter(PAGES)).image))], CLUSTERS
    )
    with pytest.raises(ValueError, match="no images"):
        compare_sharing(detector, [], errors, CLUSTERS, (4,), 10)
