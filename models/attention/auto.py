"""`auto`: the cheapest attention for an image, by measured times, of those that the model's evaluation vouches for."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from models.attention_config import AttentionConfig

MARGIN: Final = 0.03
"""Share of the encoder's time that another attention has to save: times have noise, exact attention has no error."""

EXACT: Final = AttentionConfig.exact()


@dataclass(frozen=True, slots=True)
class AttentionTimes:
    """Times of the encoder for one image, all layers together, with each attention.

    `tokens` are rising; `milliseconds` has a row of as many times above 0 for exact attention and every other that was
    timed. Raises ValueError for anything else.
    """

    tokens: tuple[int, ...]
    milliseconds: Mapping[AttentionConfig, tuple[float, ...]]

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[0] < 1 or list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError(f"token counts {self.tokens} must rise from 1 at least")
        if EXACT not in self.milliseconds:
            raise ValueError("the times of exact attention are missing")
        for attention, times in self.milliseconds.items():
            if len(times) != len(self.tokens) or not all(0 < time < math.inf for time in times):
                raise ValueError(f"{attention} must have a time above 0 for each of {len(self.tokens)} token counts")

    def at(self, attention: AttentionConfig, tokens: int) -> float:
        """Milliseconds for any number of tokens above 0: straight lines between logarithms, which make powers of N.

        The first and the last line go on beyond the counts that were timed. More tokens never take less time.
        """
        times = list(accumulate(self.milliseconds[attention], max))
        if len(times) == 1:
            return times[0]
        right = min(max(bisect_left(self.tokens, tokens), 1), len(times) - 1)
        (n0, t0), (n1, t1) = ((self.tokens[i], times[i]) for i in (right - 1, right))
        power = math.log(t1 / t0) / math.log(n1 / n0)
        return float(t0 * (tokens / n0) ** power)


@dataclass(frozen=True, slots=True)
class ChosenAttention:
    """The attention for an image, and why, in one line for people."""

    attention: AttentionConfig
    reason: str


@dataclass(frozen=True, slots=True)
class AutoAttention:
    """Chooses between exact attention and `vouched` ones by `times`, which has a row for each; None: nothing vouched.

    The same number of tokens always gets the same attention.
    """

    vouched: tuple[AttentionConfig, ...] = ()
    times: AttentionTimes | None = None

    def choose(self, tokens: int) -> ChosenAttention:
        """The cheapest for an image of `tokens` tokens; exact attention unless another saves `MARGIN` of the time."""
        if self.times is None or not self.vouched:
            return ChosenAttention(EXACT, "auto: the model's evaluation vouches for no approximate attention")
        times = self.times
        cheapest = min(self.vouched, key=lambda attention: times.at(attention, tokens))
        ratio = times.at(cheapest, tokens) / times.at(EXACT, tokens)
        share = f"{ratio:.2f} of exact attention's time in the encoder"
        measured = f"auto: {cheapest} was measured to take {share} at {tokens} tokens"
        return ChosenAttention(cheapest if ratio <= 1 - MARGIN else EXACT, measured)
