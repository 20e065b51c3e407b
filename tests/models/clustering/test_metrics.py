import math

import pytest
import torch

from models.clustering.metrics import JITTER, metric_factor, metric_matrix


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(step, matrix):
    return (step @ matrix * step).sum(-1).sqrt()


def test_the_query_metric_is_none():
    assert metric_matrix("query", drawn(5, 4), drawn(5, 4)) is None


def test_key_distance_is_the_rms_difference_of_logits():
    k, v, one, two = (
        drawn(2, 3, 40, 8, seed=1),
        drawn(2, 3, 40, 8),
        drawn(2, 3, 1, 8, seed=2),
        drawn(2, 3, 1, 8, seed=3),
    )
    logits = (one - two) @ k.mT / math.sqrt(8)
    rms = (logits - logits.mean(-1, keepdim=True)).square().mean(-1).sqrt()
    torch.testing.assert_close(distance(one - two, metric_matrix("key", k, v)), rms)


def test_key_value_distance_is_how_far_outputs_part_from_uniform_attention():
    k, v, step = drawn(40, 8, seed=1), drawn(40, 8), drawn(1, 8, seed=2)

    def output(query):
        return torch.softmax(query @ k.T / math.sqrt(8), -1) @ v

    change = torch.autograd.functional.jvp(output, torch.zeros_like(step), step)[1].norm()
    spread = (v - v.mean(0)).square().sum(-1).mean().sqrt()
    measured = distance(step, metric_matrix("key-value", k, v))
    torch.testing.assert_close(measured, (change / spread)[None])
    assert measured <= distance(step, metric_matrix("key", k, v))


@pytest.mark.parametrize("metric", ["key", "key-value"])
def test_a_constant_added_to_keys_or_values_changes_nothing(metric):
    k, v = drawn(40, 8, seed=1), drawn(40, 8)
    moved = metric_matrix(metric, k + drawn(8, seed=2), v + drawn(8, seed=3))
    torch.testing.assert_close(moved, metric_matrix(metric, k, v))


@pytest.mark.parametrize("metric", ["key", "key-value"])
@pytest.mark.parametrize("tokens", [1, 2, 5, 40], ids="{} keys".format)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_factor_gives_the_metric_where_keys_span_little(metric, tokens, dtype):
    k, v = drawn(3, tokens, 16, seed=1).to(dtype), drawn(3, tokens, 16).to(dtype)
    matrix = metric_matrix(metric, k, v)
    factor = metric_factor(matrix)
    trace = matrix.double().diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    off = (factor.double() @ factor.double().mT - matrix.double()).abs()
    assert (off <= (1.01 * JITTER + torch.finfo(dtype).eps) * trace + 1e-30).all()


@pytest.mark.parametrize("metric", ["key", "key-value"])
def test_equal_keys_put_all_queries_together(metric):
    k = torch.ones(2, 30, 8)
    matrix = metric_matrix(metric, k, torch.zeros_like(k))
    assert matrix.abs().max() == 0
    assert (1e3 * metric_factor(matrix)).abs().max() < 1e-12
