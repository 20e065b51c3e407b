"""The ladder: how much cheaper images are made when they would be late, rung by rung, and when no longer.

Rung 0 is an image as it is without load. Every further rung is cheaper and less accurate. The rules:

1. An image gets the first rung, from the present one on, at which it is predicted to be answered within the target; the
   last one if there is none, or if the wait takes most of the time to its deadline: what waits so long that it may be
   refused comes after what is cheaper.
2. Where it would have been in time but for the wait, the next rung becomes the present one, once in as much time as
   the target is: a wait that was there before has passed by then. An image that would be late by itself changes
   nothing for others.
3. The present rung is left upwards, one rung at a time, when for a whole window of `WINDOW_SECONDS` the images that
   came would have kept the device busy for at most `ROOM` of the time at the rung above, and the wait has become
   short. So a steady load that the rung above cannot serve never leads there.
4. A rung that does not save `MIN_SAVING` of the time of the one before it is passed over, for each image by its own
   times: no accuracy is given up for nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

from service.scheduling.request_queue import WAIT_SAFETY_FACTOR

MIN_SAVING: Final = 0.05
"""Share of the time that a rung has to save: times have noise, and a lower rung has errors."""


def useful_rungs(seconds: Sequence[float]) -> list[int]:
    """Return the rungs, rising from 0, that each save `MIN_SAVING` of the time of the one before it in the list.

    `seconds` has an image's time at every rung.
    """
    useful = [0]
    for rung in range(1, len(seconds)):
        if seconds[rung] <= (1 - MIN_SAVING) * seconds[useful[-1]]:
            useful.append(rung)
    return useful


def applied_rung(useful: Sequence[int], rung: int) -> int:
    """Return the last useful rung up to a given one: what an image gets there."""
    return max(one for one in useful if one <= rung)


class Ladder:
    """Chooses a rung for each image, by the wait that is predicted for it and its own times. Thread-safe.

    `rungs` counts those below rung 0, at least one. `target` is the time in seconds, above 0, within which an image
    should be answered. The device computes `takers` images side by side. `wait` returns the predicted seconds until an
    image would begin that arrives now; `clock` returns seconds that never go back.
    """

    WINDOW_SECONDS: Final = 30.0
    ROOM: Final = 0.8
    NEAR: Final = 0.75
    """Share of the time to an image's deadline that the wait may take at most before it counts as late."""
    CALM: Final = 0.25
    """Share of the target that the wait may be at most when a rung is left upwards."""

    def __init__(
        self, rungs: int, target: float, takers: int, wait: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        if rungs < 1 or not target > 0:
            raise ValueError(f"a ladder needs at least one rung and a target above 0, not {rungs} and {target}")
        self.target = target
        self._takers = takers
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._rung = 0
        self._stepped_down = -math.inf
        self._work = [0.0] * (rungs + 1)
        self._window_began = clock()

    @property
    def rung(self) -> int:
        """The present rung."""
        with self._lock:
            self._step_up(WAIT_SAFETY_FACTOR * self._wait())
            return self._rung

    def choose(self, seconds: Sequence[float], elapsed: float, patience: float = math.inf) -> int:
        """Return the rung for an image that arrived `elapsed` seconds ago and would begin after the present wait.

        `seconds` has its predicted time on the device at every rung, from rung 0 on; `patience` are the seconds until
        its deadline.
        """
        useful = useful_rungs(seconds)
        with self._lock:
            wait = WAIT_SAFETY_FACTOR * self._wait()
            self._step_up(wait)
            present = applied_rung(useful, self._rung)
            left = self.target - elapsed - wait
            in_time = left if wait <= self.NEAR * patience else -math.inf
            possible = [rung for rung in useful if rung >= present]
            chosen = next((rung for rung in possible if seconds[rung] <= in_time), possible[-1])
            if chosen > present and seconds[present] <= left + wait:
                self._step_down(possible[1])
            self._count([seconds[applied_rung(useful, rung)] for rung in range(len(self._work))])
            return chosen

    def count(self, seconds: float) -> None:
        """Count an image as part of the load that has no choice: it takes so many seconds at every rung."""
        with self._lock:
            self._count([seconds] * len(self._work))

    def _count(self, seconds: Sequence[float]) -> None:
        self._work = [work + more for work, more in zip(self._work, seconds, strict=True)]

    def _step_down(self, rung: int) -> None:
        now = self._clock()
        if now - self._stepped_down >= self.target:
            self._rung, self._stepped_down = rung, now
            self._begin_window()

    def _step_up(self, wait: float) -> None:
        """Leave the present rung if the window is over and allows it; after several windows' time, several rungs."""
        length = self._clock() - self._window_began
        if length < self.WINDOW_SECONDS:
            return
        room = self.ROOM * self._takers * length
        for _ in range(int(length // self.WINDOW_SECONDS)):
            if self._rung and wait <= self.CALM * self.target and self._work[self._rung - 1] <= room:
                self._rung -= 1
        self._begin_window()

    def _begin_window(self) -> None:
        self._work = [0.0] * len(self._work)
        self._window_began = self._clock()
