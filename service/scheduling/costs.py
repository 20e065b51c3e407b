"""What images cost: their seconds on the device, predicted from what batches took."""

from __future__ import annotations

import math
import threading
from bisect import bisect, insort
from collections.abc import Callable, Hashable, Sequence
from typing import Final


def size_bucket(pixels: int) -> int:
    """Return the bucket of an image's size: four buckets to a doubling of its pixels, which are at least 1."""
    return math.floor(4 * math.log2(pixels))


class CostModel:
    """Predicts an image's seconds on the device from its key (its attention config) and its pixels. Thread-safe.

    A cost is the image's pixels times a rate, seconds per pixel, which is kept for each key and size: a mean of what
    images took, the latest weighted most. A size that has not run yet has the rate between its neighbours', or the
    nearest one's. A key that has not run yet has the rates of all keys together; before anything ran, there is the
    rate of `assume`. A measurement counts as at most `MAX_SURPRISE` times the rate so far: a machine that was paused
    makes one image take minutes, and the next ones as long as ever.

    Keys that are not `typical` say nothing about others: what their images took is kept for themselves.
    """

    WEIGHT: Final = 0.2
    MEAN_WEIGHT: Final = 0.1
    MAX_SURPRISE: Final = 2.0
    MAX_KEYS: Final = 256  # keys contain numbers that callers choose: only the latest are remembered

    def __init__(self, typical: Callable[[Hashable], bool] = lambda _: True) -> None:
        self._lock = threading.Lock()
        self._typical = typical
        self._by_key: dict[Hashable, _Rates] = {}
        self._all = _Rates()
        self._assumed_rate = 0.0
        self._assumed_mean = 0.0
        self._mean: float | None = None

    @property
    def mean(self) -> float:
        """Seconds of an image of which nothing is known yet: of the recent ones on average; 0 before the first."""
        return self._assumed_mean if self._mean is None else self._mean

    def assume(self, pixels: int, seconds: float) -> None:
        """Take it, until something is measured, that an image of so many pixels takes so many seconds."""
        with self._lock:
            self._assumed_rate, self._assumed_mean = seconds / pixels, seconds

    def predict(self, key: Hashable, pixels: int) -> float:
        """Return the seconds that an image of `pixels` pixels will take; 0 if nothing is known at all."""
        with self._lock:
            return self._predict(key, pixels)

    def record(self, key: Hashable, pixels: Sequence[int], seconds: float) -> None:
        """Learn from a batch that took `seconds`: images of one key, with so many pixels each.

        Each image is taken to have had that share of the time that was predicted for it.
        """
        if seconds <= 0:  # a clock too coarse tells nothing
            return
        with self._lock:
            shares = [self._predict(key, one) for one in pixels]
            if not sum(shares):
                shares = [float(one) for one in pixels]
            scale = seconds / sum(shares)
            for one, share in zip(pixels, shares, strict=True):
                self._learn(key, one, share * scale)

    def _predict(self, key: Hashable, pixels: int) -> float:
        rate = self._by_key.get(key, self._all).at(size_bucket(pixels))
        return pixels * (self._assumed_rate if rate is None else rate)

    def _learn(self, key: Hashable, pixels: int, seconds: float) -> None:
        size = size_bucket(pixels)
        expected = self._by_key.get(key, self._all).at(size)
        rates = self._by_key.pop(key, None) or _Rates()
        self._by_key[key] = rates  # inserted last again, and so forgotten last
        if len(self._by_key) > self.MAX_KEYS:
            del self._by_key[next(iter(self._by_key))]
        rates.learn(size, seconds / pixels, expected)
        if not self._typical(key):
            return
        self._all.learn(size, seconds / pixels, expected)
        usual = self._predict(key, pixels)  # unlike `seconds`, it has no surprises
        self._mean = usual if self._mean is None else self._mean + self.MEAN_WEIGHT * (usual - self._mean)


class _Rates:
    """Seconds per pixel by size bucket."""

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}
        self._sizes: list[int] = []  # rising

    def at(self, size: int) -> float | None:
        """Return the rate of a size: on the line between its neighbours, or that of the nearest; None of nothing."""
        rate = self._rates.get(size)
        if rate is not None or not self._sizes:
            return rate
        right = bisect(self._sizes, size)
        if right in (0, len(self._sizes)):
            return self._rates[self._sizes[max(0, right - 1)]]
        smaller, larger = self._sizes[right - 1], self._sizes[right]
        part = (size - smaller) / (larger - smaller)
        return (1 - part) * self._rates[smaller] + part * self._rates[larger]

    def learn(self, size: int, measured: float, expected: float | None) -> None:
        """Move the rate of a size towards a measured one; `expected` is the first rate's measure of surprise."""
        rate = self._rates.get(size)
        if rate is None:
            insort(self._sizes, size)
            self._rates[size] = measured if expected is None else min(measured, CostModel.MAX_SURPRISE * expected)
        else:
            self._rates[size] += CostModel.WEIGHT * (min(measured, CostModel.MAX_SURPRISE * rate) - rate)
