import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig
from models.training.objective.full_precision import FullPrecision, training_attention

COARSE = AttentionConfig.act(L=2, r=2.0)


def test_exact_attention_runs_as_the_step_does():
    assert isinstance(training_attention(AttentionConfig.exact())[0], ExactAttention)
    assert training_attention(AttentionConfig.exact())[1] is None
    assert training_attention(COARSE) == (FullPrecision(make_attention(COARSE)), None)


@pytest.mark.half
def test_merging_comes_with_what_the_rest_attends_by():
    strategy, merging = training_attention(AttentionConfig.merge(0.5, C=3))
    assert merging == TokenMerging(0.5)
    q, k, v = (torch.randn(1, 2, 50, 8) for _ in range(3))
    sizes = torch.randint(1, 4, (1, 50)).float()
    with torch.autocast("cpu", torch.bfloat16):
        values = strategy.attend_sized(q, k, v, sizes).values
    assert torch.equal(values, make_attention(AttentionConfig.tangent(3)).attend_sized(q, k, v, sizes).values)


@pytest.mark.parametrize("kind", [AttentionConfig.act(L=2, r=2.0), AttentionConfig.tangent(3)], ids=str)
def test_gradient_through_clusters_by_finite_differences(kind):
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 7, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    attention = FullPrecision(make_attention(kind))
    counts = attention(q, k, v).cluster_counts
    assert counts is not None
    assert (counts < 7).all()
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v).values, (q, k, v))


def test_clusters_are_those_of_serving_under_reduced_precision():
    q, k, v = (torch.randn(1, 2, 50, 8) for _ in range(3))
    attention = make_attention(COARSE)
    with torch.autocast("cpu", torch.bfloat16):
        wrapped = FullPrecision(attention)(q, k, v)
    assert torch.equal(wrapped.values, attention(q, k, v).values)
    assert torch.equal(wrapped.cluster_counts, attention(q, k, v).cluster_counts)
