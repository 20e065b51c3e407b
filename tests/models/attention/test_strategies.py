"""Properties that the clustering strategies share."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention
from models.attention.tangent import TangentAttention

METRICS = ("query", "key")
FINE = [
    *(ActAttention(16, 1e-5, metric=metric) for metric in METRICS),
    *(KMeansAttention(64, metric=metric) for metric in METRICS),
    *(TangentAttention(64, points, metric=metric) for metric in METRICS for points in (None, 1, 3)),
]
"""Settings that give each of 50 random queries its own cluster."""

COARSE = [
    ActAttention(4, 2.0),
    ActAttention(8, 2.0, metric="key"),
    *(KMeansAttention(8, metric=metric) for metric in METRICS),
    *(TangentAttention(8, points) for points in (None, 3)),
]
KEY_AWARE = [attention for attention in COARSE if attention.metric == "key"]
BY_MEANS = [attention for attention in COARSE if not isinstance(attention, ActAttention)]


@pytest.mark.parametrize("attention", FINE, ids=str)
@pytest.mark.parametrize("tokens", [1, 7, 50])
def test_one_cluster_a_query_equals_exact(attention, tokens, qkv):
    q, k, v = qkv(tokens=tokens)
    attended = attention(q, k, v)
    assert attended.cluster_counts.tolist() == [[tokens] * 3] * 2
    torch.testing.assert_close(attended.values, ExactAttention()(q, k, v).values)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.half)])
@pytest.mark.parametrize(
    "attention", [ActAttention(16, 1e-5), KMeansAttention(50, metric="key"), TangentAttention(50)], ids=str
)
def test_one_cluster_a_query_equals_exact_within_rounding(attention, dtype, qkv, attention_rounding):
    q, k, v = qkv(dtype=dtype)
    attended = attention(q, k, v)
    assert attended.values.dtype == dtype
    assert attended.cluster_counts.unique().tolist() == [50]
    expected = ExactAttention()(*(x.double() for x in (q, k, v))).values
    assert ((attended.values.double() - expected).abs() <= attention_rounding(q, k, v)).all()


@pytest.mark.parametrize("attention", [ActAttention(1, 1e9), KMeansAttention(1)], ids=str)
def test_one_cluster_attends_once_from_the_mean_query(attention, qkv):
    q, k, v = qkv()
    attended = attention(q, k, v)
    expected = ExactAttention()(q.mean(2, keepdim=True), k, v).values.expand_as(q)
    torch.testing.assert_close(attended.values, expected)
    assert attended.cluster_counts.tolist() == [[1] * 3] * 2


@pytest.mark.parametrize("attention", BY_MEANS, ids=str)
def test_equal_queries_and_equal_keys_are_attended_exactly(attention, qkv):
    q, k, v = qkv()
    equal = q[:, :, :1].expand_as(q)
    for queries, keys in ((equal, k), (q, k[:, :, :1].expand_as(k)), (q[:, :, :5].repeat(1, 1, 10, 1), k)):
        torch.testing.assert_close(attention(queries, keys, v).values, ExactAttention()(queries, keys, v).values)


@pytest.mark.parametrize("attention", [KMeansAttention(20), TangentAttention(20)], ids=str)
def test_empty_clusters_are_not_counted(attention, qkv):
    q, k, v = qkv(tokens=40)
    attended = attention(q[:, :, :5].repeat(1, 1, 8, 1), k, v)
    assert attended.cluster_counts.tolist() == [[5] * 3] * 2


@pytest.mark.parametrize("attention", KEY_AWARE, ids=str)
def test_a_constant_added_to_the_keys_changes_nothing(attention, qkv):
    q, k, v = qkv(tokens=100)
    moved, plain = attention(q, k + 3 * k[:, :, :1], v), attention(q, k, v)
    assert torch.equal(moved.cluster_counts, plain.cluster_counts)
    torch.testing.assert_close(moved.values, plain.values)


@pytest.mark.parametrize("attention", COARSE, ids=str)
@pytest.mark.parametrize("tokens", [3, 97, 640])
def test_an_image_gets_the_same_by_itself_and_among_others(attention, tokens, qkv):
    """But for rounding: a product over several images may be summed in another order. Heads lie as projections leave
    them, side by side, an image's tokens apart.
    """
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(3, 4, tokens, 32))
    whole = attention(q, k, v)
    for image in range(3):
        own = attention(*(x[image : image + 1] for x in (q, k, v)))
        torch.testing.assert_close(own.values[0], whole.values[image])
        assert torch.equal(own.cluster_counts[0], whole.cluster_counts[image])


@pytest.mark.parametrize("kind", [ActAttention, KMeansAttention])
def test_seed_decides(kind, qkv):
    q, k, v = qkv(tokens=100)
    size = {"L": 4, "r": 2.0} if kind is ActAttention else {"C": 8}
    zero, again, one = (kind(**size, seed=seed)(q, k, v) for seed in (0, 0, 1))
    assert torch.equal(zero.values, again.values)
    assert not torch.equal(zero.values, one.values)


@pytest.mark.parametrize("attention", [KMeansAttention(8, metric="key"), TangentAttention(8, 4)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.02)])
def test_narrow_queries_cluster_as_wide_ones_do(attention, dtype, tolerance, qkv):
    """Of queries far apart, so that no rounding takes one to another centre. Half of bfloat16's last place is 0.002."""
    q, k, v = qkv(dtype=dtype)
    q = 3 * q[:, :, :8].repeat_interleave(6, 2) + 0.1 * q[:, :, :48]
    wide, narrow = attention(*(x.double() for x in (q, k, v))), attention(q, k, v)
    torch.testing.assert_close(narrow.values.double(), wide.values, atol=tolerance, rtol=0)


@pytest.mark.parametrize("attention", COARSE, ids=str)
def test_gradients_reach_queries_keys_and_values(attention, qkv):
    q, k, v = (x.requires_grad_() for x in qkv())
    attention(q, k, v).values.square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (q, k, v))


@pytest.mark.parametrize(
    "attention",
    [
        *(KMeansAttention(C, 3, metric=metric) for C in (1, 8, 64) for metric in METRICS),
        *(
            TangentAttention(C, points, 3, metric)
            for C, points in ((1, None), (8, None), (8, 0), (8, 3), (64, None), (64, 20))
            for metric in METRICS
        ),
    ],
    ids=str,
)
def test_multiply_adds_are_what_pytorch_counts(attention, qkv):
    q, k, v = qkv(images=1, tokens=57)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        attention(q, k, v)
    assert attention.multiply_adds(57, 3, 16) == counter.get_total_flops() // 2
