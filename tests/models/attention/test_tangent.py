import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention
from models.attention.tangent import TangentAttention, apply_derivatives, differentiate


def qkv(images=2, heads=3, tokens=50, dim=16, dtype=torch.float64):
    """In float64, where rounding pushes no query over a hash plane or to another centre."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, heads, tokens, dim, generator=generator, dtype=dtype) for _ in range(3)]


def error(approximate, q, k, v):
    exact = ExactAttention()(q, k, v).values
    return ((approximate - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("metric", ["query", "key"])
@pytest.mark.parametrize("points", [None, 1, 3])
@pytest.mark.parametrize(("tokens", "C"), [(1, 3), (7, 7), (7, 8), (50, 64)])
def test_one_cluster_a_query_equals_exact(metric, points, tokens, C):
    q, k, v = qkv(tokens=tokens)
    tangent = TangentAttention(C, points, metric=metric)(q, k, v)
    torch.testing.assert_close(tangent.values, ExactAttention()(q, k, v).values)


@pytest.mark.parametrize("metric", ["query", "key"])
def test_without_expansion_points_it_is_the_papers_broadcast(metric):
    q, k, v = qkv()
    tangent, copy = TangentAttention(8, 0, metric=metric)(q, k, v), KMeansAttention(8, metric=metric)(q, k, v)
    assert torch.equal(tangent.values, copy.values)
    assert torch.equal(tangent.cluster_counts, copy.cluster_counts)


@pytest.mark.parametrize("tokens", [1, 5, 300])
def test_derivatives_are_autograds(tokens):
    q, k, v = (x[0, 0] for x in qkv(tokens=tokens))

    def exact(query):
        return torch.softmax(query @ k.T / math.sqrt(16), -1) @ v

    outputs, derivatives = differentiate(q[None, None, :4], k[None, None], v[None, None])
    for query, output, derivative in zip(q, outputs[0, 0], derivatives[0, 0], strict=False):
        torch.testing.assert_close(output, exact(query))
        torch.testing.assert_close(derivative, torch.autograd.functional.jacobian(exact, query))


def test_every_step_gets_the_derivative_of_its_expansion_point():
    generator = torch.Generator().manual_seed(0)
    derivatives, step = torch.randn(2, 3, 5, 4, 4, generator=generator), torch.randn(2, 3, 20, 4, generator=generator)
    point = torch.randint(0, 4, (2, 3, 20), generator=generator)  # none goes to the last
    moved = apply_derivatives(derivatives, step, point)
    for image, head, i in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(20)).tolist():
        matrix = derivatives[image, head, point[image, head, i]]
        torch.testing.assert_close(moved[image, head, i], matrix @ step[image, head, i])


def test_error_falls_with_the_square_of_the_radius():
    q, k, v = qkv(tokens=60)
    middles = q[:, :, :6].repeat_interleave(10, 2)
    radii = torch.tensor([1e-3, 3e-3, 1e-2, 3e-2])

    def slope(attention):
        errors = [error(attention(x, k, v).values, x, k, v) for x in (middles + radius * q for radius in radii)]
        rise = torch.tensor(errors).log()
        run = radii.log()
        return ((rise - rise.mean()) * (run - run.mean())).sum() / (run - run.mean()).square().sum()

    assert slope(TangentAttention(6)) == pytest.approx(2, abs=0.05)
    assert slope(KMeansAttention(6, metric="key")) == pytest.approx(1, abs=0.05)
    assert slope(TangentAttention(6, 2)) == pytest.approx(1, abs=0.05)  # a borrowed derivative is off at first order


def test_more_tangents_are_better_than_fewer_and_any_better_than_none():
    q, k, v = qkv(tokens=300)
    errors = [error(TangentAttention(32, points)(0.7 * q, k, v).values, 0.7 * q, k, v) for points in (0, 1, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


@pytest.mark.parametrize("points", [None, 3])
def test_equal_queries_and_equal_keys_are_attended_exactly(points):
    q, k, v = qkv()
    equal = q[:, :, :1].expand_as(q)
    for queries, keys in ((equal, k), (q, k[:, :, :1].expand_as(k)), (q[:, :, :5].repeat(1, 1, 10, 1), k)):
        tangent = TangentAttention(8, points)(queries, keys, v)
        torch.testing.assert_close(tangent.values, ExactAttention()(queries, keys, v).values)


@pytest.mark.parametrize("points", [None, 3])
def test_a_constant_added_to_the_keys_changes_nothing(points):
    q, k, v = qkv(dtype=torch.float64)
    tangent = TangentAttention(8, points)
    torch.testing.assert_close(tangent(q, k + 3 * k[:, :, :1], v).values, tangent(q, k, v).values)


@pytest.mark.parametrize("points", [None, 5])
@pytest.mark.parametrize("tokens", [3, 97, 640])
def test_an_image_gets_the_same_by_itself_and_among_others(points, tokens):
    """But for rounding: a product over several images may be summed in another order. Heads lie as projections leave
    them, side by side, an image's tokens apart.
    """
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in qkv(3, 4, tokens, 32))
    tangent = TangentAttention(16, points)
    whole = tangent(q, k, v)
    for image in range(3):
        alone = tangent(*(x[image : image + 1] for x in (q, k, v)))
        torch.testing.assert_close(alone.values[0], whole.values[image])
        assert torch.equal(alone.cluster_counts[0], whole.cluster_counts[image])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.half)])
def test_one_cluster_a_query_equals_exact_within_rounding(dtype, attention_rounding):
    q, k, v = qkv(dtype=dtype)
    tangent = TangentAttention(50, metric="key")(q, k, v)
    assert tangent.values.dtype == dtype
    expected = ExactAttention()(*(x.double() for x in (q, k, v))).values
    assert ((tangent.values.double() - expected).abs() <= attention_rounding(q, k, v)).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.02)])
def test_narrow_queries_cluster_as_wide_ones_do(dtype, tolerance):
    """Of queries far apart, so that no rounding takes one to another centre. Half of bfloat16's last place is 0.002."""
    q, k, v = qkv(dtype=dtype)
    q = 3 * q[:, :, :8].repeat_interleave(6, 2) + 0.1 * q[:, :, :48]
    tangent = TangentAttention(8, 4)
    wide, narrow = tangent(*(x.double() for x in (q, k, v))), tangent(q, k, v)
    torch.testing.assert_close(narrow.values.double(), wide.values, atol=tolerance, rtol=0)


@pytest.mark.parametrize("points", [None, 2])
def test_gradients_are_those_of_finite_differences(points):
    """Assignments are constants: the clusters here are far apart, and no small change moves a query to another."""
    q, k, v = qkv(images=1, heads=1, tokens=12, dim=4)
    q = 8 * q[:, :, :4].repeat_interleave(3, 2) + 0.1 * q
    inputs = [x.requires_grad_() for x in (q, k, v)]
    tangent = TangentAttention(4, points)
    assert torch.autograd.gradcheck(lambda *x: tangent(*x).values, inputs, fast_mode=True)


@pytest.mark.parametrize("metric", ["query", "key"])
@pytest.mark.parametrize(("C", "points"), [(1, None), (8, None), (8, 0), (8, 3), (64, None), (64, 20)])
def test_multiply_adds_are_what_pytorch_counts(metric, C, points):
    q, k, v = qkv(images=1, tokens=57)
    attention = TangentAttention(C, points, 3, metric)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        attention(q, k, v)
    assert attention.multiply_adds(57, 3, 16) == counter.get_total_flops() // 2
