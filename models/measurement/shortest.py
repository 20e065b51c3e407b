"""The shortest time of each of several calls, measured again where the repeats say that it cannot be trusted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MAX_ROUNDS: Final = 9
ATTEMPTS: Final = 3
"""How often all is measured at most, where the repeats of a call disagree."""
DISAGREEMENT: Final = 0.3
"""Share by which the second shortest time of a call may exceed the shortest.

Other programs make calls longer, by any factor and now and then. Two repeats that agree were not both disturbed.
"""

Name = TypeVar("Name", bound=Hashable)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shortest(Generic[Name]):
    """The shortest time of each call in seconds, and whether another repeat of each agrees with it."""

    seconds: dict[Name, float]
    agree: bool


def shortest_times(
    calls: Mapping[Name, Callable[[], object]],
    seconds: Callable[[], float],
    *,
    seconds_in_all: float,
    least_rounds: int,
) -> Shortest[Name]:
    """Time every call once per round, after a round that warms up, so that a slow spell hits all alike.

    There are `least_rounds` rounds at least, 2 or more; none begins after `seconds_in_all`, nor after `MAX_ROUNDS`.
    Where the two shortest times of a call disagree, as they do on a machine with other work, as many rounds follow
    again, up to `ATTEMPTS` times in all, and earlier repeats still count. `seconds` is the clock for the calls.
    """
    for call in calls.values():
        call()
    repeats: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(ATTEMPTS):
        _measure(calls, seconds, seconds_in_all, least_rounds, repeats)
        disagreeing = sum(not _agree(times) for times in repeats.values())
        if not disagreeing:
            break
    else:
        logger.warning("too busy to measure: repeats of %d of %d timings disagree", disagreeing, len(repeats))
    return Shortest({name: min(times) for name, times in repeats.items()}, not disagreeing)


def _measure(
    calls: Mapping[Name, Callable[[], object]],
    seconds: Callable[[], float],
    seconds_in_all: float,
    least_rounds: int,
    repeats: Mapping[Name, list[float]],
) -> None:
    end = time.perf_counter() + seconds_in_all
    for done in range(MAX_ROUNDS):
        if done >= least_rounds and time.perf_counter() > end:
            return
        for name, call in calls.items():
            start = seconds()
            call()
            repeats[name].append(seconds() - start)


def _agree(times: list[float]) -> bool:
    shortest, second = sorted(times)[:2]
    return second <= (1 + DISAGREEMENT) * shortest
