from dataclasses import replace

import pytest
import torch

from models.attention.exact import ExactAttention
from models.config import AttentionConfig, named_config
from models.data.samples import PageSamples
from models.detector import Detector
from models.reproduction.output_error import output_errors
from models.reproduction.published_encoder import (
    Character,
    characters,
    effective_share,
    encoder_cost,
    made_encoder,
    widened_tokens,
)

SMALL = replace(named_config("detr-r50-dc5"), hidden_dim=64, encoder_layers=2, feedforward_dim=32)
WANTED = [Character(0.5, 0.2), Character(0.1, 1.5)]


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def images(detector):
    return [detector.preprocess(sample.image) for sample in PageSamples(2, 128, 96)]


@torch.inference_mode()
def test_widened_tokens_keep_their_proportions(detector, images):
    own, wide = detector.encoder_tokens(images[0]), widened_tokens(detector, images[0], 64)
    assert wide.values.shape == wide.positions.shape == (88, 64)
    assert wide.lengths == own.lengths
    torch.testing.assert_close(wide.values @ wide.values.T, 2 * own.values @ own.values.T, rtol=1e-4, atol=1e-3)
    assert torch.equal(wide.values, widened_tokens(detector, images[0], 64).values)


def test_layers_are_as_wanted(detector, images):
    tokens = widened_tokens(detector, images[0], 64)
    for wanted in (WANTED, WANTED[::-1]):
        found = characters(made_encoder(SMALL, tokens, wanted), tokens)
        assert [layer.share for layer in found] == pytest.approx([layer.share for layer in wanted], rel=1e-2)
        assert [layer.strength for layer in found] == pytest.approx([layer.strength for layer in wanted], rel=1e-3)


@torch.inference_mode()
def test_attention_adds_nothing_to_all_tokens_alike(detector, images):
    tokens = widened_tokens(detector, images[0], 64)
    layer = made_encoder(SMALL, tokens, WANTED).layers[0]
    added, _ = layer.self_attn.attend_packed(tokens, ExactAttention())
    assert added.mean(0).norm() < 1e-4 * added.norm(dim=-1).mean()


def test_equal_seeds_make_equal_weights_and_leave_the_generator_alone(detector, images):
    tokens = widened_tokens(detector, images[0], 64)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, same, other = (made_encoder(SMALL, tokens, WANTED, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["layers.0.linear1.weight"], other["layers.0.linear1.weight"])


def test_effective_share_at_its_limits():
    q, k = torch.zeros(1, 2, 50, 4), torch.randn(1, 2, 50, 4)
    assert effective_share(q, k) == pytest.approx(1, rel=1e-5)
    peaked = torch.eye(4).repeat(1, 1, 1, 1)
    assert effective_share(peaked, peaked, 1e3) == pytest.approx(1 / 4, rel=1e-5)
    assert effective_share(peaked, peaked, 0.1) > effective_share(peaked, peaked, 1.0)


def test_a_trained_models_characters_are_of_its_layers(detector, images):
    with torch.inference_mode():
        found = characters(detector.detr.transformer.encoder, detector.encoder_tokens(images[0]))
    assert len(found) == 2
    assert all(1 / 88 <= layer.share <= 1 and layer.strength > 0 for layer in found)


def test_errors_are_measured_on_it(detector, images):
    first, second = (widened_tokens(detector, image, 64) for image in images)
    kinds = [AttentionConfig.exact(), AttentionConfig.tangent(8), AttentionConfig.kmeans(8, metric="key")]
    exact, tangent, copy = output_errors(made_encoder(SMALL, first, WANTED), [second], kinds)
    assert exact.encoder == 0
    assert 0 < tangent.encoder < copy.encoder


def test_attentions_part_of_the_published_encoder():
    config = named_config("detr-r50-dc5")
    N, d, f = 3500, 256, 2048
    assert encoder_cost(config, N) == pytest.approx(2 * N * N * d / (2 * N * N * d + 4 * N * d * d + 2 * N * d * f))
