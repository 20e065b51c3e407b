import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.clustering.collision import (
    collision_probability,
    round_splitting_probability,
    widest_buckets,
)
from models.clustering.lsh import hash_buckets, hash_planes

CPU = torch.device("cpu")
lengths = st.floats(1e-3, 1e3)
confidences = st.floats(0.01, 0.999)


def test_check_values():
    values = [collision_probability(c, 1, r) for c, r in ((0.1, 1), (1, 1), (2, 1), (4, 8))]
    assert values == pytest.approx([0.920212, 0.368746, 0.195417, 0.609548], abs=1e-6)


def test_limits():
    assert collision_probability(0, 32, 8.0) == 1
    assert collision_probability(1e-9, 32, 8.0) == pytest.approx(1)
    assert collision_probability(1e12, 1, 1e-9) < 1e-15
    # Near 0 a round splits with E|N(0, 1)| c / r; far away it keeps together with r / (sqrt(2 pi) c).
    assert round_splitting_probability(1e-6, 1.0) == pytest.approx(math.sqrt(2 / math.pi) * 1e-6, rel=1e-4)
    assert collision_probability(1e6, 1, 1.0) == pytest.approx(1e-6 / math.sqrt(2 * math.pi), rel=1e-4)


@given(lengths, lengths, st.integers(1, 64))
def test_falls_with_distance_and_rounds_and_rises_with_width(distance, r, L):
    here = collision_probability(distance, L, r)
    assert 0 <= here <= 1
    assert collision_probability(1.1 * distance, L, r) <= here
    assert collision_probability(distance, L + 1, r) <= here
    assert collision_probability(distance, L, 1.1 * r) >= here


@given(lengths, lengths)
def test_collision_and_splitting_probabilities_sum_to_one(distance, r):
    assert collision_probability(distance, 1, r) + round_splitting_probability(distance, r) == pytest.approx(1)


@given(st.integers(1, 64), lengths, confidences)
def test_the_widest_buckets_are_wide_enough_and_no_wider(L, distance, confidence):
    r = widest_buckets(L, distance, confidence)
    assert collision_probability(distance, L, r) <= (1 - confidence) * (1 + 1e-9)
    assert collision_probability(distance, L, 1.0001 * r) > 1 - confidence


@pytest.mark.parametrize(
    ("L", "r", "distance"), [(1, 1.0, 1.0), (1, 8.0, 4.0), (4, 8.0, 1.0), (16, 8.0, 0.5), (32, 4.0, 0.1)]
)
def test_the_real_hash_agrees(L, r, distance):
    """Also shows that offsets are U(0, r): with U(0, 1) the second case would come out otherwise."""
    generator = torch.Generator().manual_seed(0)
    start = 10 * torch.randn(2000, 32, generator=generator, dtype=torch.float64)
    step = torch.randn(2000, 32, generator=generator, dtype=torch.float64)
    pairs = torch.stack((start, start + distance * step / step.norm(dim=-1, keepdim=True)), 1)
    together = 0.0
    for seed in range(20):
        buckets = hash_buckets(pairs, hash_planes(32, L, seed, CPU, torch.float64), r)
        together += (buckets[:, 0] == buckets[:, 1]).all(-1).double().mean().item() / 20
    assert together == pytest.approx(collision_probability(distance, L, r), abs=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda: collision_probability(1.0, 0, 1.0),
        lambda: collision_probability(1.0, 1, 0.0),
        lambda: widest_buckets(4, 0.0, 0.5),
        lambda: widest_buckets(4, 1.0, 1.0),
        lambda: widest_buckets(4, math.inf, 0.5),
        lambda: widest_buckets(4, 1.0, 0.0),
    ],
)
def test_arguments_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match="must be"):
        call()
