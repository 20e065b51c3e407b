import pytest
import torch

from models.reproduction.sharing import query_pairs, sharing_by_distance, synthetic_pairs


def test_measured_agrees_with_the_theory_at_every_distance():
    first, second = synthetic_pairs(32, 4000, 2.0, torch.Generator().manual_seed(0))
    bins = sharing_by_distance(first, second, 4, 4.0, range(16), bins=5)
    assert [one.pairs for one in bins] == [800] * 5
    distances = [one.distance for one in bins]
    assert distances == sorted(distances)
    assert [one.measured for one in bins] == pytest.approx([one.predicted for one in bins], abs=0.03)


def test_pairs_are_of_one_head_and_half_are_near():
    queries = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    queries[1] += 1000
    first, second = query_pairs(queries, 400, torch.Generator().manual_seed(1))
    assert first.shape == second.shape == (400, 4)
    apart = (first - second).norm(dim=-1)
    assert apart.max() < 100
    head = apart[:200]
    assert head[100:].mean() < head[:100].mean()
    assert (head[100:] > 0).all()


def test_a_single_token_pairs_with_itself():
    first, second = query_pairs(torch.ones(1, 1, 4), 10, torch.Generator().manual_seed(0))
    assert torch.equal(first, second)
