from dataclasses import replace

import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.data.samples import PageSamples
from models.reproduction.made_encoder import (
    Character,
    characters,
    effective_share,
    made_encoder,
    scale_attention,
    widened_tokens,
)

WANTED = [Character(0.4, 0.5), Character(0.05, 0.3)]


@pytest.fixture
def image(detector):
    (page,) = PageSamples(1, 128, 96)
    return detector.preprocess(page.image)


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("heads", [2, 8])
def test_layers_have_the_sharpness_and_the_strength_that_were_wanted(detector, image, heads, pre_norm):
    config = DetrConfig("made", ("a",), hidden_dim=64, heads=heads, encoder_layers=2, feedforward_dim=32)
    tokens = widened_tokens(detector, image, 64)
    encoder = made_encoder(replace(config, pre_norm=pre_norm), tokens, WANTED)
    for found, wanted in zip(characters(encoder, tokens), WANTED, strict=True):
        assert found.share == pytest.approx(wanted.share, rel=1e-3)
        assert found.strength == pytest.approx(wanted.strength, rel=1e-3)


def test_widened_tokens_keep_the_proportions_of_their_distances(detector, image):
    own, wide = detector.encoder_tokens(image), widened_tokens(detector, image, 128)
    assert wide.values.shape == wide.positions.shape == (len(own.values), 128)
    ratios = torch.pdist(wide.values[:20].double()) / torch.pdist(own.values[:20].double())
    assert torch.allclose(ratios, torch.full_like(ratios, 2.0), rtol=1e-3)


def test_the_share_is_one_for_no_preference_and_one_key_for_the_sharpest():
    keys = torch.eye(8)[None, None]
    assert effective_share(keys, keys, 0) == pytest.approx(1)
    assert effective_share(keys, keys, 1e4) == pytest.approx(1 / 8)


def test_factors_whose_product_is_one_change_nothing_but_the_metric_of_the_queries(detector, image):
    encoder, tokens = detector.detr.transformer.encoder, detector.encoder_tokens(image)
    settings = (AttentionConfig.act(16, 1.0, metric="key"), AttentionConfig.act(16, 1.0))
    before = [encoder(tokens, attend) for attend in (ExactAttention(), *map(make_attention, settings))]
    scale_attention(encoder, 4, 1 / 4)
    after = [encoder(tokens, attend) for attend in (ExactAttention(), *map(make_attention, settings))]
    exact, key, query = zip(before, after, strict=True)
    assert torch.equal(exact[0].tokens.values, exact[1].tokens.values)  # powers of two round nothing
    assert torch.equal(key[0].cluster_counts, key[1].cluster_counts)
    assert query[0].cluster_counts.sum() < query[1].cluster_counts.sum()
