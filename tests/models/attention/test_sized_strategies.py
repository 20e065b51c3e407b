"""Keys that stand for several tokens, against as many equal keys."""

import pytest
import torch

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.multihead import MultiheadAttention
from models.attention.strategy import SizedStrategy
from models.attention_config import AttentionConfig
from models.images import PackedTokens

SETTINGS = [
    AttentionConfig.exact(),
    AttentionConfig.kmeans(5, metric="query"),
    *(AttentionConfig.tangent(5, points, metric="query") for points in (None, 2, 0)),
]
each = pytest.mark.parametrize("config", SETTINGS, ids=str)
SIZES = torch.tensor([[1.0, 2, 3, 1, 4, 1, 1, 1, 2, 1, 1, 5], [4.0, 1, 1, 2, 1, 1, 3, 1, 1, 1, 1, 2]])


def test_act_has_no_sizes():
    assert all(isinstance(make_attention(config), SizedStrategy) for config in SETTINGS)
    assert not isinstance(ActAttention(4, 2.0), SizedStrategy)


@each
def test_a_key_counts_as_often_as_its_size(config, qkv):
    q, k, v = qkv(tokens=12)
    strategy = make_attention(config)
    sized = strategy.attend_sized(q, k, v, SIZES)
    for image, sizes in enumerate(SIZES):
        repeated = (x[image : image + 1].repeat_interleave(sizes.long(), 2) for x in (k, v))
        expected = strategy(q[image : image + 1], *repeated)
        torch.testing.assert_close(sized.values[image : image + 1], expected.values)


@each
def test_sizes_of_one_change_nothing(config, qkv):
    q, k, v = qkv(tokens=12)
    strategy = make_attention(config)
    ones = torch.ones(2, 12)
    torch.testing.assert_close(strategy.attend_sized(q, k, v, ones).values, strategy(q, k, v).values)


@each
def test_weights_make_the_value_of_every_query(config, qkv):
    q, k, v = qkv(tokens=12)
    strategy = make_attention(config)
    values = strategy.attend_sized(q, k, v, SIZES).values
    for token in range(12):
        weights = strategy.sized_weights(q, k, token, SIZES)
        torch.testing.assert_close((weights[..., None, :] @ v).squeeze(-2), values[:, :, token])


def test_each_run_of_images_gets_its_own_sizes():
    layer = MultiheadAttention(8, 2).eval()
    values = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([1.0, 2, 3, 1, 1, 4, 2, 1, 1, 2])
    lengths = (3, 3, 4)
    together, _ = layer.attend_packed(PackedTokens(values, values, lengths, sizes=sizes), ExactAttention())
    start = 0
    for length in lengths:
        own = slice(start, start + length)
        alone = PackedTokens(values[own], values[own], (length,), sizes=sizes[own])
        torch.testing.assert_close(together[own], layer.attend_packed(alone, ExactAttention())[0])
        start += length


def test_a_strategy_without_sizes_is_refused():
    layer = MultiheadAttention(8, 2).eval()
    tokens = PackedTokens(torch.randn(3, 8), torch.randn(3, 8), (3,), sizes=torch.ones(3))
    with pytest.raises(TypeError, match="ActAttention has no keys"):
        layer.attend_packed(tokens, ActAttention(4, 2.0))
