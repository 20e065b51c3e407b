import math

import pytest
import torch

from models.clustering.metrics import JITTER, metric_factor, metric_matrix


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(step, matrix):
    return (step @ matrix * step).sum(-1).sqrt()


def test_the_query_metric_is_none():
    assert metric_matrix("query", drawn(5, 4)) is None


def test_key_distance_is_the_rms_difference_of_logits():
    k, one, two = drawn(2, 3, 40, 8, seed=1), drawn(2, 3, 1, 8, seed=2), drawn(2, 3, 1, 8, seed=3)
    logits = (one - two) @ k.mT / math.sqrt(8)
    rms = (logits - logits.mean(-1, keepdim=True)).square().mean(-1).sqrt()
    torch.testing.assert_close(distance(one - two, metric_matrix("key", k)), rms)


def test_a_constant_added_to_the_keys_changes_nothing():
    k = drawn(40, 8, seed=1)
    torch.testing.assert_close(metric_matrix("key", k + drawn(8, seed=2)), metric_matrix("key", k))


@pytest.mark.parametrize("tokens", [1, 2, 5, 40], ids="{} keys".format)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_factor_gives_the_metric_where_keys_span_little(tokens, dtype):
    matrix = metric_matrix("key", drawn(3, tokens, 16, seed=1).to(dtype))
    factor = metric_factor(matrix)
    trace = matrix.double().diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    off = (factor.double() @ factor.double().mT - matrix.double()).abs()
    assert (off <= (1.01 * JITTER + torch.finfo(dtype).eps) * trace + 1e-30).all()


def test_equal_keys_put_all_queries_together():
    matrix = metric_matrix("key", torch.ones(2, 30, 8))
    assert matrix.abs().max() == 0
    assert (1e3 * metric_factor(matrix)).abs().max() < 1e-12
