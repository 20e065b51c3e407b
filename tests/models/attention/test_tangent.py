import math

import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention
from models.attention.tangent import TangentAttention, Tangents, differentiate, follow
from models.clustering.kmeans import Grouping


def error(approximate, q, k, v):
    exact = ExactAttention()(q, k, v).values
    return ((approximate - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("metric", ["query", "key"])
def test_without_expansion_points_it_is_the_papers_broadcast(metric, qkv):
    q, k, v = qkv()
    tangent, copy = TangentAttention(8, 0, metric=metric)(q, k, v), KMeansAttention(8, metric=metric)(q, k, v)
    assert torch.equal(tangent.values, copy.values)
    assert torch.equal(tangent.cluster_counts, copy.cluster_counts)


@pytest.mark.parametrize("tokens", [1, 5, 300])
def test_derivatives_are_autograds(tokens, qkv):
    q, k, v = (x[0, 0] for x in qkv(tokens=tokens))

    def exact(query):
        return torch.softmax(query @ k.T / math.sqrt(16), -1) @ v

    outputs, derivatives = differentiate(q[None, None, :4], k[None, None], v[None, None])
    for query, output, derivative in zip(q, outputs[0, 0], derivatives[0, 0], strict=False):
        torch.testing.assert_close(output, exact(query))
        torch.testing.assert_close(derivative, torch.autograd.functional.jacobian(exact, query))


def test_every_query_follows_the_tangent_of_its_cluster():
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    q, derivatives = drawn(2, 3, 70, 4), drawn(2, 3, 2, 4, 4)
    ids, point = (
        torch.randint(0, high, shape, generator=generator) for high, shape in ((4, (2, 3, 70)), (2, (2, 3, 5)))
    )
    grouping, outputs = Grouping(drawn(2, 3, 5, 4), drawn(2, 3, 5), ids), drawn(2, 3, 5, 4)  # the last has no member
    moved = follow(Tangents(outputs, derivatives, point), grouping, q)
    for image, head, i in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(70)).tolist():
        own = (image, head, ids[image, head, i])
        step = q[image, head, i] - grouping.prototypes[own]
        torch.testing.assert_close(moved[image, head, i], outputs[own] + derivatives[image, head, point[own]] @ step)


def test_error_falls_with_the_square_of_the_radius(qkv):
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


def test_more_tangents_are_better_than_fewer_and_any_better_than_none(qkv):
    q, k, v = qkv(tokens=300)
    errors = [error(TangentAttention(32, points)(0.7 * q, k, v).values, 0.7 * q, k, v) for points in (0, 1, 8, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


@pytest.mark.parametrize("points", [None, 2])
def test_gradients_are_those_of_finite_differences(points, qkv):
    """Assignments are constants: the clusters here are far apart, and no small change moves a query to another."""
    q, k, v = qkv(images=1, heads=1, tokens=12, dim=4)
    q = 8 * q[:, :, :4].repeat_interleave(3, 2) + 0.1 * q
    inputs = [x.requires_grad_() for x in (q, k, v)]
    tangent = TangentAttention(4, points)
    assert torch.autograd.gradcheck(lambda *x: tangent(*x).values, inputs, fast_mode=True)
