import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention


def qkv(images=2, heads=3, tokens=50, dim=16, dtype=torch.float64):
    """In float64, where rounding pushes no query over a hash plane or to another centre."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, heads, tokens, dim, generator=generator, dtype=dtype) for _ in range(3)]


@pytest.mark.parametrize("metric", ["query", "key"])
@pytest.mark.parametrize(("tokens", "C"), [(1, 1), (1, 8), (7, 7), (7, 8), (50, 64)])
def test_one_cluster_a_query_equals_exact(metric, tokens, C):
    q, k, v = qkv(tokens=tokens)
    kmeans = KMeansAttention(C, metric=metric)(q, k, v)
    torch.testing.assert_close(kmeans.values, ExactAttention()(q, k, v).values)


def test_one_cluster_attends_once_from_the_mean_query():
    q, k, v = qkv()
    kmeans = KMeansAttention(1)(q, k, v)
    expected = ExactAttention()(q.mean(2, keepdim=True), k, v).values.expand_as(q)
    torch.testing.assert_close(kmeans.values, expected)
    assert kmeans.cluster_counts.tolist() == [[1] * 3] * 2


def test_empty_clusters_are_not_counted():
    q, k, v = qkv(tokens=40)
    q = q[:, :, :5].repeat(1, 1, 8, 1)
    kmeans = KMeansAttention(20)(q, k, v)
    assert kmeans.cluster_counts.tolist() == [[5] * 3] * 2
    torch.testing.assert_close(kmeans.values, ExactAttention()(q, k, v).values)


@pytest.mark.parametrize("metric", ["query", "key"])
def test_equal_queries_and_equal_keys_are_attended_exactly(metric):
    q, k, v = qkv()
    equal = q[:, :, :1].expand_as(q)
    for queries, keys in ((equal, k), (q, k[:, :, :1].expand_as(k))):
        kmeans = KMeansAttention(8, metric=metric)(queries, keys, v)
        torch.testing.assert_close(kmeans.values, ExactAttention()(queries, keys, v).values)


def test_a_constant_added_to_the_keys_changes_nothing():
    q, k, v = qkv(dtype=torch.float64)
    kmeans = KMeansAttention(8, metric="key")
    torch.testing.assert_close(kmeans(q, k + 3 * k[:, :, :1], v).values, kmeans(q, k, v).values)


def test_seed_decides():
    q, k, v = qkv(tokens=100)
    zero, again, one = (KMeansAttention(8, seed=seed)(q, k, v) for seed in (0, 0, 1))
    assert torch.equal(zero.values, again.values)
    assert not torch.equal(zero.values, one.values)


@pytest.mark.parametrize("metric", ["query", "key"])
@pytest.mark.parametrize("tokens", [3, 97, 640])
def test_an_image_gets_the_same_by_itself_and_among_others(metric, tokens):
    """But for rounding: a product over several images may be summed in another order. Heads lie as projections leave
    them, side by side, an image's tokens apart.
    """
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(3, 4, tokens, 32))
    kmeans = KMeansAttention(16, metric=metric)
    whole = kmeans(q, k, v)
    for image in range(3):
        alone = kmeans(*(x[image : image + 1] for x in (q, k, v)))
        torch.testing.assert_close(alone.values[0], whole.values[image])
        assert torch.equal(alone.cluster_counts[0], whole.cluster_counts[image])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.half)])
def test_one_cluster_a_query_equals_exact_within_rounding(dtype, attention_rounding):
    q, k, v = qkv(dtype=dtype)
    kmeans = KMeansAttention(50, metric="key")(q, k, v)
    assert kmeans.values.dtype == dtype
    expected = ExactAttention()(*(x.double() for x in (q, k, v))).values
    assert ((kmeans.values.double() - expected).abs() <= attention_rounding(q, k, v)).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.02)])
def test_narrow_queries_cluster_as_wide_ones_do(dtype, tolerance):
    """Of queries far apart, so that no rounding takes one to another centre. Half of bfloat16's last place is 0.002."""
    q, k, v = qkv(dtype=dtype)
    q = 3 * q[:, :, :8].repeat_interleave(6, 2) + 0.1 * q[:, :, :48]
    kmeans = KMeansAttention(8, metric="key")
    wide, narrow = kmeans(*(x.double() for x in (q, k, v))), kmeans(q, k, v)
    torch.testing.assert_close(narrow.values.double(), wide.values, atol=tolerance, rtol=0)


def test_gradients_reach_queries_keys_and_values():
    q, k, v = (x.requires_grad_() for x in qkv())
    KMeansAttention(4, metric="key")(q, k, v).values.square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (q, k, v))


@pytest.mark.parametrize("metric", ["query", "key"])
@pytest.mark.parametrize("C", [1, 8, 64])
def test_multiply_adds_are_what_pytorch_counts(metric, C):
    q, k, v = qkv(images=1, tokens=57)
    attention = KMeansAttention(C, rounds=3, metric=metric)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        attention(q, k, v)
    assert attention.multiply_adds(57, 3, 16) == counter.get_total_flops() // 2
