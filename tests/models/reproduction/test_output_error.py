import pytest

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.reproduction.attention_time import attention_times
from models.reproduction.output_error import output_errors, size_for_error


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def tokens(detector):
    return [detector.encoder_tokens(detector.preprocess(sample.image)) for sample in PageSamples(2, 128, 96)]


def test_errors_fall_as_cost_rises_and_vanish_at_the_limit(detector, tokens):
    kinds = [AttentionConfig.exact(), *(AttentionConfig.act(8, r) for r in (1e-5, 1.0, 8.0))]
    exact, sharp, middle, wide = output_errors(detector.detr.transformer.encoder, tokens, kinds)
    assert exact.encoder == 0
    assert exact.cost == 1
    assert exact.images == 2
    assert sharp.encoder < 1e-4  # rounding alone: a call a head may sum in another order than one for all
    assert middle.encoder > 0
    assert middle.attention_error < wide.attention_error
    assert sharp.cost > middle.cost > wide.cost > 0
    assert sharp.clusters == sharp.tokens == 88
    assert len(wide.layers) == 2


def test_size_for_error_is_between_its_neighbours():
    assert size_for_error([0.4, 0.1], [8, 32], 0.2) == pytest.approx(16)
    assert size_for_error([0.1, 0.4], [32, 8], 0.4) == pytest.approx(8)
    assert size_for_error([0.4, 0.1], [8, 32], 0.05) is None
    assert size_for_error([0.4, 0.1], [8, 32], 0.5) is None


def test_times_are_beside_exact(detector, tokens):
    rows = attention_times(detector, tokens[0], [AttentionConfig.act(4, 1.0), AttentionConfig.exact()], 2)
    assert [str(row.attention) for row in rows] == ["exact", "act:L=4,r=1"]
    assert rows[0].ratio == 1
    assert rows[1].milliseconds.median > 0
    assert rows[1].tokens == 88
