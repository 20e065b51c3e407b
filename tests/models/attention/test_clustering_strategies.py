"""What every strategy that clusters says it does with a query, against what it does."""

import pytest
import torch

from models.attention.exact import ExactAttention, exact_weights
from models.attention.factory import make_attention
from models.attention.strategy import ClusteringStrategy
from models.attention_config import AttentionConfig

CLUSTERING = [
    *(AttentionConfig.act(8, 2.0, metric=metric) for metric in ("query", "key")),
    *(AttentionConfig.kmeans(5, seed=3, metric=metric) for metric in ("query", "key")),
    *(AttentionConfig.tangent(5, points, metric=metric) for points in (None, 2, 0) for metric in ("query", "key")),
]
COARSE = [AttentionConfig.act(2, 8.0), AttentionConfig.kmeans(2), AttentionConfig.tangent(2)]
each = pytest.mark.parametrize("config", CLUSTERING, ids=str)


def test_strategies_that_cluster_are_told_from_exact_attention():
    assert all(isinstance(make_attention(config), ClusteringStrategy) for config in CLUSTERING)
    assert not isinstance(ExactAttention(), ClusteringStrategy)


@pytest.mark.parametrize("tokens", [1, 6, 50])
def test_exact_weights_are_rows_of_scaled_dot_product_attention(tokens, qkv):
    q, k, _ = qkv(tokens=tokens)
    rows = torch.nn.functional.scaled_dot_product_attention(q, k, torch.eye(tokens, dtype=q.dtype).expand(2, 3, -1, -1))
    torch.testing.assert_close(exact_weights(q, k), rows)


@each
@pytest.mark.parametrize("tokens", [1, 4, 70])
def test_clusters_are_those_it_counts(config, tokens, qkv):
    q, k, v = qkv(tokens=tokens)
    strategy = make_attention(config)
    clusters, attended = strategy.assign(q, k), strategy(q, k, v)
    assert torch.equal(clusters.counts, attended.cluster_counts)
    assert clusters.ids.shape == q.shape[:-1]
    for ids, count in zip(clusters.ids.flatten(0, 1), attended.cluster_counts.flatten(), strict=True):
        assert len(ids.unique()) == count


@each
@pytest.mark.parametrize("tokens", [1, 4, 70])
def test_weights_make_the_value_of_every_query(config, tokens, qkv):
    q, k, v = qkv(tokens=tokens)
    strategy = make_attention(config)
    values = strategy(q, k, v).values
    for token in range(tokens):
        weights = strategy.weights(q, k, token)
        torch.testing.assert_close((weights[..., None, :] @ v).squeeze(-2), values[:, :, token])
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, dtype=q.dtype))


@pytest.mark.half
@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_make_the_value_up_to_the_rounding_of_its_type(config, dtype, qkv):
    q, k, v = (x.to(dtype) for x in qkv(tokens=70))
    strategy = make_attention(config)
    values = strategy(q, k, v).values.double()
    bound = rounding(q, k, v)
    for token in (0, 33, 69):
        weights = strategy.weights(q, k, token)
        assert weights.dtype == torch.float32
        made = (weights[..., None, :].double() @ v.double()).squeeze(-2)
        assert ((made - values[:, :, token]).abs() <= bound + torch.finfo(dtype).eps * made.abs()).all()


def rounding(q, k, v):
    """A bound [B, H, D] on how far two orders of the same sums are apart, in float32 but for weights of a half type.

    No prototype is larger than the queries, and no step from it longer than twice as large.
    """
    stored = torch.finfo(q.dtype).eps / 2
    unit = torch.finfo(torch.float32).eps / 2
    tokens, dim = q.shape[-2:]
    q, k, v = (x.double().abs().amax(2) for x in (q, k, v))
    logits = (q * k).sum(-1, keepdim=True) * dim**-0.5
    of_a_weight = (2 * dim * logits + 50) * unit + (stored if stored > unit else 0)
    tangent = 1 + 2 * 2 * logits  # by how much more a first-order weight may be, and what it is the difference of
    return 2 * (of_a_weight + (2 * tokens + 4 * dim) * unit) * tangent * v


@each
def test_weights_are_exact_where_every_query_is_a_cluster(config, qkv):
    q, k, _ = qkv(tokens=40)
    limits = {"act": {"r": 1e-9, "L": 16}}.get(config.mode, {"C": 40, "rounds": 0})
    strategy = make_attention(config.with_options(**limits))
    if config.mode == "act":
        assert strategy.assign(q, k).counts.unique().tolist() == [40]
    for token in (0, 17, 39):
        torch.testing.assert_close(strategy.weights(q, k, token), exact_weights(q, k)[:, :, token])


@pytest.mark.parametrize("config", COARSE, ids=str)
def test_only_a_tangent_gives_members_weights_of_their_own_some_of_them_negative(config, qkv):
    q, k, _ = qkv(images=1, heads=1, tokens=60)
    strategy = make_attention(config)
    ids = strategy.assign(3 * q, k).ids[0, 0]
    pair = (ids == ids[0]).nonzero()[:2, 0].tolist()
    first, second = (strategy.weights(3 * q, k, token) for token in pair)
    assert torch.equal(first, second) == (config.mode != "tangent")
    negative = torch.cat([strategy.weights(3 * q, k, token) for token in range(60)]).min() < 0
    assert negative == (config.mode == "tangent")
