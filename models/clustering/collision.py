"""Collision probability of the hash, and the bucket width that keeps queries at a distance apart (ACT, section 3.3).

Distances and bucket widths are in the units of what is hashed: queries scaled by 1/sqrt(D), or root mean square
logits where the metric is `key`.
"""

from __future__ import annotations

import math

_BISECTIONS = 200


def collision_probability(distance: float, L: int, r: float) -> float:
    """p(c)^L: the chance that L rounds of bucket width r > 0 put two queries at this distance >= 0 into one bucket."""
    _check(r=r, L=L)
    return math.exp(L * _log_collision(distance, r)) if distance > 0 else 1.0


def widest_buckets(L: int, distance: float, confidence: float) -> float:
    """The largest r for which queries `distance` apart or further share a bucket with at most 1 - `confidence`.

    p depends only on r / distance and rises with it: bisection.
    """
    _check(L=L, distance=distance, confidence=confidence)
    log_max = math.log1p(-confidence) / L
    low, high = 0.0, 1.0
    while _log_collision(1.0, high) <= log_max:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if _log_collision(1.0, middle) <= log_max else (low, middle)
    return low * distance


def round_splitting_probability(distance: float, r: float) -> float:
    """1 - p(c): the chance that one round puts two queries at this distance > 0 into different buckets.

    2 Phi(-r/c) + 2c / (sqrt(2 pi) r) (1 - exp(-r²/2c²)), without cancellation where it is small.
    """
    width = r / distance
    return math.erfc(width / math.sqrt(2)) - math.sqrt(2 / math.pi) / width * math.expm1(-(width**2) / 2)


def _log_collision(distance: float, r: float) -> float:
    """Log p(c), exact where p is near 1 as well as near 0."""
    width = r / distance
    split = round_splitting_probability(distance, r)
    if split < 0.5:
        return math.log1p(-split)
    same = math.erf(width / math.sqrt(2)) + math.sqrt(2 / math.pi) / width * math.expm1(-(width**2) / 2)
    return math.log(same) if same > 0 else -math.inf


def _check(L: int = 1, r: float = 1.0, distance: float = 1.0, confidence: float = 0.5) -> None:
    if L < 1:
        raise ValueError(f"L must be at least 1, not {L}")
    if not 0 < r < math.inf:
        raise ValueError(f"r must be a positive, finite number, not {r}")
    if not 0 < distance < math.inf:
        raise ValueError(f"the distance must be a positive, finite number, not {distance}")
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must be between 0 and 1, not {confidence}")
