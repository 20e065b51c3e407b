"""A line through block means: by hand, sure of a leak, and not taken in by correlated noise."""

from __future__ import annotations

import random

import pytest

from deploy.loadtest.trend import BLOCKS, block_means, student, trend
from deploy.loadtest.watch import slope


def wandering(seed: int, count: int, tie: float = 0.9) -> list[float]:
    """Return noise about 0 each value of which is mostly the one before it."""
    rng, value, values = random.Random(seed), 0.0, []
    for _ in range(count):
        value = tie * value + rng.gauss(0, 1)
        values.append(value)
    return values


def test_block_means_by_hand() -> None:
    times = [0.2, 0.4, 1.9, 19.9, 20.0, -1.0]
    assert block_means(times, [1, 3, 7, 9, 100, 100], 0, 20) == [(0.5, 2), (1.5, 7), (19.5, 9)]


def test_a_straight_line_is_found_exactly() -> None:
    times = [10 + at / 10 for at in range(2000)]
    found = trend(times, [5 + 2 * at for at in times], 10, 210)
    assert found.line.per_s == pytest.approx(2)
    assert (found.line.low, found.line.high) == (pytest.approx(2), pytest.approx(2))
    assert found.line.samples == BLOCKS
    assert found.mean == pytest.approx(5 + 2 * 110, rel=1e-3)
    assert found.growth == pytest.approx(400 / 225, rel=1e-3)
    assert not found.flat(1.5)
    assert found.flat(2)


def test_the_interval_has_students_t() -> None:
    assert student(18) == pytest.approx(2.101, abs=1e-3)
    values = [1 + block % 2 for block in range(BLOCKS)]
    found = trend([block + 0.5 for block in range(BLOCKS)], values, 0, BLOCKS)
    spread = sum((block - 9.5) ** 2 for block in range(BLOCKS))
    rest = sum((value - 1.5 - found.line.per_s * (block - 9.5)) ** 2 for block, value in enumerate(values))
    assert found.line.high - found.line.per_s == pytest.approx(2.101 * (rest / 18 / spread) ** 0.5, rel=1e-3)


def test_correlated_noise_is_hardly_ever_taken_for_growth() -> None:
    """Of 200 flat series 2.5 % should seem to grow; a line through the samples themselves errs far more often."""
    times = [float(at) for at in range(2000)]
    runs = [trend(times, [100 + noise for noise in wandering(seed, 2000)], 0, 2000) for seed in range(200)]
    assert sum(run.line.low > 0 for run in runs) <= 12
    assert sum(slope(times, wandering(seed, 2000)).low > 0 for seed in range(200)) > 50


def test_a_slow_leak_under_correlated_noise_is_found() -> None:
    times = [float(at) for at in range(2000)]
    leak = [100 + 0.01 * at + noise for at, noise in zip(times, wandering(1, 2000), strict=True)]
    found = trend(times, leak, 0, 2000)
    assert found.line.low > 0
    assert found.growth == pytest.approx(20 / 110, rel=0.2)
    assert not found.flat(0.05)


def test_a_few_values_say_nothing() -> None:
    with pytest.raises(ValueError, match="10 blocks with values, not 2"):
        trend([0.5, 5.5, 5.6], [1, 1, 1], 0, 20)
