import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.clustering.lsh import hash_buckets, hash_planes


@settings(deadline=None, max_examples=30)
@given(
    images=st.integers(1, 3), heads=st.integers(1, 4), tokens=st.integers(1, 70), dim=st.sampled_from([1, 3, 16, 32])
)
def test_equals_exact_as_r_goes_to_zero(images, heads, tokens, dim, qkv):
    q, k, v = qkv(images, heads, tokens, dim)
    act = ActAttention(L=16, r=1e-9)(q, k, v)  # of 70 numbers two may well be as near as 1e-5
    torch.testing.assert_close(act.values, ExactAttention()(q, k, v).values)
    assert act.cluster_counts.tolist() == [[tokens] * heads] * images


def test_a_single_token_attends_to_itself(qkv):
    q, k, v = qkv(tokens=1)
    act = ActAttention(L=32, r=8.0)(q, k, v)
    torch.testing.assert_close(act.values, v)
    assert act.cluster_counts.unique().tolist() == [1]


def test_equal_queries_share_a_cluster(qkv):
    q, k, v = qkv(tokens=10)
    q = q.repeat_interleave(5, 2)
    act = ActAttention(L=64, r=1e-4)(q, k.repeat(1, 1, 5, 1), v.repeat(1, 1, 5, 1))
    assert act.cluster_counts.unique().tolist() == [10]


def test_the_hash_is_of_queries_over_the_root_of_their_width(qkv):
    q, k, _ = qkv(dim=64)
    planes = hash_planes(64, 4, 0, q.device, q.dtype)
    assert torch.equal(ActAttention(L=4, r=2.0).hash(q, k), hash_buckets(q / 8, planes, 2.0))


def test_more_rounds_never_merge_clusters(qkv):
    q, k, v = qkv(tokens=200)
    counts = [ActAttention(L=rounds, r=4.0)(q, k, v).cluster_counts for rounds in (1, 2, 4, 8, 16, 32, 64)]
    assert all((more >= fewer).all() for fewer, more in itertools.pairwise(counts))
    assert counts[-1].min() > counts[0].max()


def test_heads_and_images_cluster_by_themselves(qkv):
    q, k, v = qkv(images=2, heads=2)
    act = ActAttention(L=4, r=2.0)
    whole = act(q, k, v)
    part = act(q[1:, 1:], k[1:, 1:], v[1:, 1:])
    torch.testing.assert_close(part.values, whole.values[1:, 1:])
    assert part.cluster_counts.item() == whole.cluster_counts[1, 1].item()


def test_the_query_metric_looks_at_no_keys(qkv):
    q, k, _ = qkv(tokens=100)
    act = ActAttention(L=8, r=2.0)
    assert torch.equal(act.hash(q, k), act.hash(q, 5 * k))


def test_in_the_key_metric_r_is_in_units_of_logits(qkv):
    """Queries and keys may be exchanged for others with the same logits: the buckets stay."""
    q, k, v = qkv(tokens=100)
    act = ActAttention(L=8, r=2.0, metric="key")
    same = act(4 * q, k / 4, v)
    assert torch.equal(same.cluster_counts, act(q, k, v).cluster_counts)
    twice = ActAttention(L=8, r=4.0, metric="key")(q, 2 * k, v)
    assert torch.equal(twice.cluster_counts, same.cluster_counts)


def test_queries_that_differ_where_no_key_does_share_a_bucket(qkv):
    q, k, v = qkv(tokens=100)
    q, k = q.clone(), k.clone()
    q[..., 1:], k[..., 0] = q[:, :, :1, 1:], 0
    assert ActAttention(L=16, r=0.5, metric="key")(q, k, v).cluster_counts.max() <= 2  # a plane may just part them
    assert ActAttention(L=16, r=0.5)(q, k, v).cluster_counts.min() > 10
