"""When calls are due, and what they are."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from deploy.loadtest.traffic import Mix, Phase, arrival_times, schedule


def test_constant_arrivals_are_even_and_poisson_ones_have_the_rate() -> None:
    assert list(arrival_times(4, 1, "constant", random.Random(0))) == [0, 0.25, 0.5, 0.75]
    times = list(arrival_times(10, 1000, "poisson", random.Random(0)))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.03)
    assert variance == pytest.approx(0.01, rel=0.1)  # exponential: the square of the mean
    with pytest.raises(ValueError, match="above 0"):
        list(arrival_times(0, 1, "constant", random.Random(0)))


def test_a_schedule_is_in_order_mixed_and_always_the_same() -> None:
    mix = Mix((b"one", b"two"), ("attention=exact", "attention=act"), (100.0, 200.0))
    phases = [Phase("calm", 20, 2), Phase("overload", 100, 3)]
    made = schedule(phases, mix, seed=1, chosen_share=0.5)
    assert made == schedule(phases, mix, seed=1, chosen_share=0.5)
    assert made != schedule(phases, mix, seed=2, chosen_share=0.5)
    assert [call.due for call in made] == sorted(call.due for call in made)
    assert all((call.due < 2) == (call.phase == "calm") for call in made)
    assert {(call.path, call.body) for call in made} == {
        (f"/detect?attention={attention}&deadline_ms={deadline}", body)
        for attention in ("exact", "act")
        for deadline in (100, 200)
        for body in mix.images
    }
    assert 0 < sum(call.chosen for call in made) < len(made)
