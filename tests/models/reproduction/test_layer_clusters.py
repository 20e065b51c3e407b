from itertools import product

import numpy as np
import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.fidelity import relative_error
from models.reproduction.layer_clusters import encode, errors_by_layer, predicted_error, shared, tangents

CLUSTERS = (2, 3, 4, 5, 6)


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def tokens(detector):
    with torch.inference_mode():
        return [detector.encoder_tokens(detector.preprocess(sample.image)) for sample in PageSamples(2, 128, 96)]


@torch.inference_mode()
def test_equal_attentions_are_the_encoders_own(detector, tokens):
    encoder = detector.detr.transformer.encoder
    own = encoder(tokens[0], make_attention(AttentionConfig.tangent(4))).tokens.values
    assert torch.equal(encode(encoder, tokens[0], tangents((4, 4))).tokens.values, own)
    assert not torch.equal(encode(encoder, tokens[0], tangents((4, 8))).tokens.values, own)


@torch.inference_mode()
def test_an_error_is_of_one_layer_alone(detector, tokens):
    encoder = detector.detr.transformer.encoder
    errors = errors_by_layer(detector, tokens[:1], (4, 16))
    assert errors.shape == (2, 2)
    exact = encode(encoder, tokens[0], [ExactAttention()] * 2).tokens.values
    first, second = tangents((4, 16))
    for place, kinds in (((0, 0), (first, ExactAttention())), ((1, 1), (ExactAttention(), second))):
        values = encode(encoder, tokens[0], kinds).tokens.values
        assert errors[place] == pytest.approx(relative_error(values, exact), rel=1e-4)


def test_images_are_a_root_mean_square(detector, tokens):
    one, other, both = (errors_by_layer(detector, some, (4,)) for some in (tokens[:1], tokens[1:], tokens))
    assert both == pytest.approx(np.sqrt((one**2 + other**2) / 2))


@pytest.mark.parametrize("total", [6, 9, 13, 18])
def test_no_other_sharing_of_the_total_is_better(total):
    errors = np.sort(np.random.default_rng(total).random((3, len(CLUSTERS))))[:, ::-1]
    squares = {
        choice: sum(errors[layer, C - 2] ** 2 for layer, C in enumerate(choice))
        for choice in product(CLUSTERS, repeat=3)
        if sum(choice) == total
    }
    found = shared(errors, CLUSTERS, total)
    assert sum(found) == total
    assert squares[found] == pytest.approx(min(squares.values()))
    assert predicted_error(errors, CLUSTERS, found) == pytest.approx(squares[found] ** 0.5)


def test_the_layer_that_needs_more_gets_more():
    errors = np.array([[0.4, 0.2, 0.1], [0.04, 0.02, 0.01]])
    low, high = sorted(shared(errors, (4, 8, 16), 20))
    assert shared(errors, (4, 8, 16), 20) == (high, low)
    assert high > 2 * low


def test_between_measured_clusters_errors_are_log_log():
    errors = np.array([[0.4, 0.1]])
    assert predicted_error(errors, (4, 16), (8,)) == pytest.approx(0.2)


def test_an_error_that_rises_by_chance_is_not_believed():
    assert predicted_error(np.array([[0.2, 0.1, 0.3]]), (2, 4, 8), (8,)) == pytest.approx(0.1)


@pytest.mark.parametrize("total", [3, 13])
def test_refuses_a_total_out_of_reach(total):
    with pytest.raises(ValueError, match="do not sum to"):
        shared(np.ones((2, 5)), CLUSTERS, total)
