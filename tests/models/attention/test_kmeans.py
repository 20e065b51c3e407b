import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention


def qkv(images=2, heads=3, tokens=50, dim=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, heads, tokens, dim, generator=generator, dtype=dtype) for _ in range(3)]


@pytest.mark.parametrize("metric", ["query", "key", "key-value"])
@pytest.mark.parametrize(("tokens", "C"), [(1, 1), (1, 8), (7, 7), (7, 8), (50, 64)])
def test_one_cluster_a_query_equals_exact(metric, tokens, C):
    q, k, v = qkv(tokens=tokens)
    kmeans = KMeansAttention(C, metric=metric)(q, k, v)
    torch.testing.assert_close(kmeans.values, ExactAttention()(q, k, v).values, atol=1e-5, rtol=1e-4)


def test_one_cluster_attends_once_from_the_mean_query():
    q, k, v = qkv()
    kmeans = KMeansAttention(1)(q, k, v)
    expected = ExactAttention()(q.mean(2, keepdim=True), k, v).values.expand_as(q)
    torch.testing.assert_close(kmeans.values, expected, atol=1e-5, rtol=1e-4)
    assert kmeans.cluster_counts.tolist() == [[1] * 3] * 2


def test_empty_clusters_are_not_counted():
    q, k, v = qkv(tokens=40)
    q = q[:, :, :5].repeat(1, 1, 8, 1)
    kmeans = KMeansAttention(20)(q, k, v)
    assert kmeans.cluster_counts.tolist() == [[5] * 3] * 2
    torch.testing.assert_close(kmeans.values, ExactAttention()(q, k, v).values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("metric", ["query", "key"])
def test_equal_queries_and_equal_keys_are_no_obstacle(metric):
    q, k, v = qkv()
    equal = q[:, :, :1].expand_as(q)
    for queries, keys in ((equal, k), (q, k[:, :, :1].expand_as(k))):
        kmeans = KMeansAttention(8, metric=metric)(queries, keys, v)
        torch.testing.assert_close(kmeans.values, ExactAttention()(queries, keys, v).values, atol=1e-5, rtol=1e-4)


def test_a_constant_added_to_the_keys_changes_nothing():
    q, k, v = qkv(dtype=torch.float64)
    kmeans = KMeansAttention(8, metric="key")
    torch.testing.assert_close(kmeans(q, k + 3 * k[:, :, :1], v).values, kmeans(q, k, v).values)


def test_seed_decides():
    q, k, v = qkv(tokens=100)
    zero, again, one = (KMeansAttention(8, seed=seed)(q, k, v) for seed in (0, 0, 1))
    assert torch.equal(zero.values, again.values)
    assert not torch.equal(zero.values, one.values)


@pytest.mark.parametrize("metric", ["query", "key", "key-value"])
@pytest.mark.parametrize("tokens", [3, 97, 640])
def test_an_image_gets_the_same_bits_alone_and_among_others(metric, tokens):
    """The projections leave heads side by side, an image's tokens apart: as here."""
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(3, 4, tokens, 32))
    kmeans = KMeansAttention(16, metric=metric)
    whole = kmeans(q, k, v)
    for image in range(3):
        alone = kmeans(*(x[image : image + 1] for x in (q, k, v)))
        assert torch.equal(alone.values[0], whole.values[image])
        assert torch.equal(alone.cluster_counts[0], whole.cluster_counts[image])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    q, k, v = qkv(dtype=dtype)
    kmeans = KMeansAttention(8, metric="key")
    wide = kmeans(*(x.double() for x in (q, k, v)))
    narrow = kmeans(q, k, v)
    assert narrow.values.dtype == dtype
    torch.testing.assert_close(narrow.values.double(), wide.values, atol=0.01, rtol=0.01)


def test_gradients_reach_queries_keys_and_values():
    q, k, v = (x.requires_grad_() for x in qkv())
    KMeansAttention(4, metric="key")(q, k, v).values.square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (q, k, v))


@pytest.mark.parametrize("metric", ["query", "key", "key-value"])
@pytest.mark.parametrize("C", [1, 8, 64])
def test_multiply_adds_are_what_pytorch_counts(metric, C):
    q, k, v = qkv(images=1, tokens=57)
    attention = KMeansAttention(C, rounds=3, metric=metric)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        attention(q, k, v)
    assert attention.multiply_adds(57, 3, 16) == counter.get_total_flops() // 2
