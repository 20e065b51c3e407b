"""Whether something grows over a long run: a line through the means of blocks, and what is sure about it.

What is measured at successive times is correlated: memory grows in steps and stays, a slow call slows those that wait
behind it. An interval that takes each sample for news of its own is far too narrow. So the time is cut into 20 blocks
of the same length, the line is fitted to the blocks' means, and its 95 % interval has Student's t with two degrees of
freedom fewer than blocks (batch means). The means are as good as independent where a block is much longer than what
ties samples together: 75 s in half an hour, against a few seconds of queue. In a run of seconds they are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from deploy.loadtest.watch import Slope, slope

BLOCKS: Final = 20
LEAST_BLOCKS: Final = 10
"""With values in them: with fewer there is nothing to say."""
_NORMAL: Final = 1.96
"""What `slope` multiplies a standard error with."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth over a time of `seconds` of something above 0; `line` has growth a second and its interval."""

    mean: float
    seconds: float
    line: Slope

    @property
    def growth(self) -> float:
        """The line's growth over the whole time, as a share of the mean."""
        return self.line.per_s * self.seconds / self.mean

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `growth`."""
        return self.line.low * self.seconds / self.mean, self.line.high * self.seconds / self.mean

    def flat(self, bound: float) -> bool:
        """Tell whether it is not sure to grow, or grows by no more than a share `bound`."""
        return self.line.low <= 0 or self.growth <= bound


def trend(times: Sequence[float], values: Sequence[float], begins: float, ends: float) -> Trend:
    """Fit a line to block means of the values, all above 0, whose times lie in [begins, ends).

    Raises ValueError for fewer than ten blocks with values.
    """
    means = block_means(times, values, begins, ends)
    if len(means) < LEAST_BLOCKS:
        raise ValueError(f"a trend needs {LEAST_BLOCKS} blocks with values, not {len(means)}")
    normal = slope([at for at, _ in means], [mean for _, mean in means])
    error = (normal.high - normal.per_s) / _NORMAL * student(len(means) - 2)
    line = Slope(normal.per_s, normal.per_s - error, normal.per_s + error, len(means))
    return Trend(math.fsum(mean for _, mean in means) / len(means), ends - begins, line)


def block_means(
    times: Sequence[float], values: Sequence[float], begins: float, ends: float
) -> list[tuple[float, float]]:
    """Return the middle and the mean of each of 20 even blocks of [begins, ends) that has values, in order."""
    length = (ends - begins) / BLOCKS
    inside = sorted(pair for pair in zip(times, values, strict=True) if begins <= pair[0] < ends)
    means = []
    for block, pairs in groupby(inside, key=lambda pair: int((pair[0] - begins) / length)):
        held = [value for _, value in pairs]
        means.append((begins + (block + 0.5) * length, math.fsum(held) / len(held)))
    return means


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
