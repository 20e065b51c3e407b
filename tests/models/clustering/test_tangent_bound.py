"""Bounds are held against exact attention in float64: on drawn cases, and on cases set against them."""

import math

import pytest
import torch

from models.clustering.tangent_bound import copy_bound, probed_error, shift_radius, tangent_bound


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(q, k, v):
    return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v


def derivative(q, step, k, v):
    """The change of attention's output along step, from its definition as a covariance."""
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
    shifts = step @ k.mT / math.sqrt(q.shape[-1])
    return (weights * shifts) @ v - (weights * shifts).sum(-1, keepdim=True) * (weights @ v)


def errors(prototype, step, k, v, origin=None):
    exact, start = attention(prototype + step, k, v), attention(prototype, k, v)
    tangent = start + derivative(prototype if origin is None else origin, step, k, v)
    return (exact - start).norm(dim=-1), (exact - tangent).norm(dim=-1)


def two_keys(steps):
    """One head of width 1 with two opposite keys and values: the output is tanh of the query."""
    k = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    at = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
    return at, torch.full_like(at, steps), k, k.clone()


CASES = {
    "small steps": (drawn(2, 50, 8), 0.01 * drawn(2, 50, 8, seed=1), drawn(2, 70, 8, seed=2), drawn(2, 70, 8, seed=3)),
    "large steps": (drawn(2, 50, 8), 5 * drawn(2, 50, 8, seed=1), drawn(2, 70, 8, seed=2), drawn(2, 70, 8, seed=3)),
    "sharp": (9 * drawn(2, 50, 8), drawn(2, 50, 8, seed=1), 5 * drawn(2, 70, 8, seed=2), drawn(2, 70, 8, seed=3)),
    "values are keys": (drawn(50, 8), 0.3 * drawn(50, 8, seed=1), drawn(70, 8, seed=2), drawn(70, 8, seed=2)),
    "one outlying key": (
        drawn(50, 8),
        0.1 * drawn(50, 8, seed=1),
        drawn(70, 8, seed=2) ** 5,
        drawn(70, 8, seed=3) ** 5,
    ),
    "keys on a line": (drawn(50, 8), drawn(50, 8, seed=1), drawn(70, 1) * drawn(8, seed=2), drawn(70, 8, seed=3)),
    "far from 0": (drawn(50, 8), 0.1 * drawn(50, 8, seed=1), 100 + drawn(70, 8, seed=2), 100 + drawn(70, 8, seed=3)),
    "one key": (drawn(50, 8), drawn(50, 8, seed=1), drawn(1, 8), drawn(1, 8)),
    "tanh, small": two_keys(0.05),
    "tanh, middling": two_keys(1.0),
    "tanh, large": two_keys(6.0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_error_is_above_its_bound(case):
    prototype, step, k, v = case
    copy, tangent = errors(prototype, step, k, v)
    assert (copy <= copy_bound(step, k, v) + 1e-9).all()
    assert (tangent <= tangent_bound(step, k, v) + 1e-9).all()
    origin = prototype + 0.3 * step.flip(-2)
    _, borrowed = errors(prototype, step, k, v, origin)
    assert (borrowed <= tangent_bound(step, k, v, prototype - origin) + 1e-9).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_search_for_the_worst_case_does_not_break_the_bound(seed):
    """Climb towards the largest share of the bound that the tangent's error can take."""
    prototype, step, k, v = (
        drawn(*shape, seed=4 * seed + i) for i, shape in enumerate([(1, 2), (1, 2), (5, 2), (5, 2)])
    )
    leaves = [x.requires_grad_() for x in (prototype, step, k, v)]
    optimiser = torch.optim.Adam(leaves, 0.1)
    for _ in range(25):
        optimiser.zero_grad()
        share = errors(*leaves)[1] / tangent_bound(step, k, v).clamp(min=1e-12)
        assert share.item() <= 1 + 1e-6
        (-share.sum()).backward()
        optimiser.step()


def test_bounds_are_of_first_and_second_order():
    _, step, k, v = CASES["small steps"]
    torch.testing.assert_close(copy_bound(step / 10, k, v), copy_bound(step, k, v) / 10)
    torch.testing.assert_close(tangent_bound(step / 10, k, v), tangent_bound(step, k, v) / 100)


def test_bounds_are_within_reach():
    """Two keys come close to either: no constant is far too large."""
    at, step, k, v = two_keys(0.05)
    copy, tangent = errors(at, step, k, v)
    assert copy.max() > 0.9 * copy_bound(step, k, v).max()
    assert tangent.max() > 0.7 * tangent_bound(step, k, v).max()


def test_shift_radius_is_above_half_the_range_of_logit_shifts_and_ignores_a_common_one():
    step, k = drawn(3, 40, 8), drawn(3, 70, 8, seed=1) * torch.logspace(-2, 1, 8, dtype=torch.float64)
    shifts = step @ k.mT / math.sqrt(8)
    half_range = (shifts.amax(-1) - shifts.amin(-1)) / 2
    radius = shift_radius(step, k)
    assert (half_range <= radius).all()
    assert (radius < 6 * half_range).float().mean() > 0.8
    torch.testing.assert_close(shift_radius(step, k + drawn(8, seed=2)), radius)


@pytest.mark.parametrize("probes", [1, 32, 1000])
def test_probes_estimate_the_relative_error(probes):
    q, k, v = (drawn(2, 3, 200, 8, seed=seed) for seed in range(3))
    exact = attention(q, k, v)
    torch.testing.assert_close(probed_error(1.1 * exact, q, k, v, probes), torch.full((2, 3), 0.1, dtype=torch.float64))


def test_all_probes_are_the_error_itself():
    q, k, v = (drawn(2, 3, 50, 8, seed=seed) for seed in range(3))
    exact = attention(q, k, v)
    noise = drawn(2, 3, 50, 8, seed=9)
    expected = noise.flatten(-2).norm(dim=-1) / exact.flatten(-2).norm(dim=-1)
    torch.testing.assert_close(probed_error(exact + noise, q, k, v, 50), expected)
