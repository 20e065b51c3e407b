import pytest
import torch

from models.clustering.collision import collision_probability
from models.tuning.collision_rates import collision_rates


def test_collision_rates_agree_with_the_probability_at_a_distance():
    first = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    second = first.clone()
    second[:, 0] += 1.0
    rates = collision_rates(first, second, 4, 4.0, range(16))
    assert rates.shape == (2000,)
    assert float(rates.mean()) == pytest.approx(collision_probability(1.0, 4, 4.0), abs=0.05)
    assert collision_rates(first, first, 4, 4.0, (0,)).tolist() == [1] * 2000
