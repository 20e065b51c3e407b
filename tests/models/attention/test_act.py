import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention


def qkv(images=2, heads=3, tokens=50, dim=16, scale=1.0, dtype=torch.float64):
    """In float64, where rounding pushes no query over a hash plane or to another centre."""
    generator = torch.Generator().manual_seed(1)
    return [scale * torch.randn(images, heads, tokens, dim, generator=generator, dtype=dtype) for _ in range(3)]


@settings(deadline=None, max_examples=30)
@given(
    images=st.integers(1, 3), heads=st.integers(1, 4), tokens=st.integers(1, 70), dim=st.sampled_from([1, 3, 16, 32])
)
def test_equals_exact_as_r_goes_to_zero(images, heads, tokens, dim):
    q, k, v = qkv(images, heads, tokens, dim)
    act = ActAttention(L=16, r=1e-9)(q, k, v)  # of 70 numbers two may well be as near as 1e-5
    torch.testing.assert_close(act.values, ExactAttention()(q, k, v).values)
    assert act.cluster_counts.tolist() == [[tokens] * heads] * images


def test_one_cluster_attends_once():
    q, k, v = qkv()
    act = ActAttention(L=1, r=1e9)(q, k, v)
    expected = ExactAttention()(q.mean(2, keepdim=True), k, v).values.expand_as(q)
    assert act.cluster_counts.unique().tolist() == [1]
    torch.testing.assert_close(act.values, expected)


def test_a_single_token_attends_to_itself():
    q, k, v = qkv(tokens=1)
    act = ActAttention(L=32, r=8.0)(q, k, v)
    torch.testing.assert_close(act.values, v)
    assert act.cluster_counts.unique().tolist() == [1]


def test_equal_queries_share_a_cluster():
    q, k, v = qkv(tokens=10)
    q = q.repeat_interleave(5, 2)
    act = ActAttention(L=64, r=1e-4)(q, k.repeat(1, 1, 5, 1), v.repeat(1, 1, 5, 1))
    assert act.cluster_counts.unique().tolist() == [10]


def test_hash_sees_scaled_queries():
    """Published settings are for queries over sqrt(D): four times the width of a head is twice the bucket."""
    q, k, v = qkv(dim=64, scale=4.0)
    padded = torch.cat((q, torch.zeros(*q.shape[:-1], 0)), -1)
    coarse = ActAttention(L=4, r=2.0)(padded, k, v).cluster_counts
    same = ActAttention(L=4, r=1.0)(padded / 2, k, v).cluster_counts
    assert torch.equal(coarse, same)


def test_more_rounds_never_merge_clusters():
    q, k, v = qkv(tokens=200)
    counts = [ActAttention(L=rounds, r=4.0)(q, k, v).cluster_counts for rounds in (1, 2, 4, 8, 16, 32, 64)]
    assert all((more >= fewer).all() for fewer, more in itertools.pairwise(counts))
    assert counts[-1].min() > counts[0].max()


def test_seed_decides():
    q, k, v = qkv(tokens=100)
    zero, again, one = (ActAttention(L=4, r=2.0, seed=seed)(q, k, v) for seed in (0, 0, 1))
    assert torch.equal(zero.values, again.values)
    assert not torch.equal(zero.values, one.values)


def test_heads_and_images_cluster_by_themselves():
    q, k, v = qkv(images=2, heads=2)
    act = ActAttention(L=4, r=2.0)
    whole = act(q, k, v)
    part = act(q[1:, 1:], k[1:, 1:], v[1:, 1:])
    torch.testing.assert_close(part.values, whole.values[1:, 1:])
    assert part.cluster_counts.item() == whole.cluster_counts[1, 1].item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.half)])
def test_equals_exact_in_every_dtype_but_for_its_rounding(dtype, attention_rounding):
    q, k, v = qkv(dtype=dtype)
    act = ActAttention(L=16, r=1e-5)(q, k, v)
    assert act.values.dtype == dtype
    assert act.cluster_counts.unique().tolist() == [50]
    expected = ExactAttention()(*(x.double() for x in (q, k, v))).values
    assert ((act.values.double() - expected).abs() <= attention_rounding(q, k, v)).all()


def test_gradients_reach_queries_keys_and_values():
    q, k, v = (x.requires_grad_() for x in qkv())
    ActAttention(L=4, r=2.0)(q, k, v).values.square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (q, k, v))


def test_the_query_metric_looks_at_no_keys():
    q, k, _ = qkv(tokens=100)
    act = ActAttention(L=8, r=2.0)
    assert torch.equal(act.hash(q, k), act.hash(q, 5 * k))


def test_in_the_key_metric_it_equals_exact_as_r_goes_to_zero():
    q, k, v = qkv()
    act = ActAttention(L=16, r=1e-5, metric="key")(q, k, v)
    torch.testing.assert_close(act.values, ExactAttention()(q, k, v).values)
    assert act.cluster_counts.unique().tolist() == [50]


def test_in_the_key_metric_r_is_in_units_of_logits():
    """Queries and keys may be exchanged for others with the same logits: the buckets stay."""
    q, k, v = qkv(tokens=100)
    act = ActAttention(L=8, r=2.0, metric="key")
    same = act(4 * q, k / 4, v)
    assert torch.equal(same.cluster_counts, act(q, k, v).cluster_counts)
    twice = ActAttention(L=8, r=4.0, metric="key")(q, 2 * k, v)
    assert torch.equal(twice.cluster_counts, same.cluster_counts)


def test_in_the_key_metric_a_constant_added_to_the_keys_changes_nothing():
    q, k, v = qkv(tokens=100)
    act = ActAttention(L=8, r=2.0, metric="key")
    moved, plain = act(q, k + 3 * k[:, :, :1], v), act(q, k, v)
    assert torch.equal(moved.cluster_counts, plain.cluster_counts)
    torch.testing.assert_close(moved.values, plain.values)


def test_queries_that_differ_where_no_key_does_share_a_bucket():
    q, k, v = qkv(tokens=100)
    q, k = q.clone(), k.clone()
    q[..., 1:], k[..., 0] = q[:, :, :1, 1:], 0
    assert ActAttention(L=16, r=0.5, metric="key")(q, k, v).cluster_counts.max() <= 2  # a plane may just part them
    assert ActAttention(L=16, r=0.5)(q, k, v).cluster_counts.min() > 10
