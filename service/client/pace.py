"""How many requests are under way at a time: fewer when the service refuses for now."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import CancelledError
from typing import Final

NOW: Final = 0.0
CAUTION: Final = 10
"""How many times more answers it takes to try a number again that was refused."""


class Pace:
    """Decides when the next of many requests may start; it knows neither threads nor tasks.

    At most `limit` requests run at a time, `concurrency` at first. A refusal for now lowers the limit to the number of
    requests that are still under way, as the service has taken those, and to one at least. Answers raise it again: by
    one for as many answers as it lets run, and CAUTION times as slowly where that would reach the number that was
    refused last.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._limit = float(concurrency)
        self._refused = math.inf
        self._running = 0

    @property
    def limit(self) -> int:
        """The number of requests that may run now."""
        return int(self._limit)

    def wait(self, seconds: float) -> float:
        """Return how long one waits that has a pause of `seconds` left: 0 for not at all.

        Infinity means that another has to end first.
        """
        return math.inf if self._running >= self.limit else max(NOW, seconds)

    def start(self) -> None:
        """Count one that starts."""
        self._running += 1

    def end(self, *, refused: bool) -> None:
        """Count one that ended, with an answer or with a refusal for now."""
        self._running -= 1
        if refused:
            self._refused = self._running + 1
            self._limit = float(max(1, self._running))
            return
        if self.limit >= self._refused:
            self._refused = math.inf
        answers = self.limit * (1 if self.limit + 1 < self._refused else CAUTION)
        self._limit = min(self._concurrency, self._limit + 1 / answers)


class Gate:
    """A pace for threads."""

    def __init__(self, concurrency: int) -> None:
        self._pace = Pace(concurrency)
        self._changed = threading.Condition()
        self._closed = False

    def enter(self, pause: float) -> None:
        """Wait for `pause` seconds and until this thread's request may start. Raises CancelledError once closed."""
        end = time.monotonic() + pause
        with self._changed:
            while not self._closed and (wait := self._pace.wait(end - time.monotonic())) > NOW:
                self._changed.wait(None if wait == math.inf else wait)
            if self._closed:
                raise CancelledError
            self._pace.start()

    def leave(self, *, refused: bool) -> None:
        """Count this thread's request as ended: see `Pace.end`."""
        with self._changed:
            self._pace.end(refused=refused)
            self._changed.notify_all()

    def close(self) -> None:
        """Let no further request start."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class AsyncGate:
    """A pace for the tasks of one event loop; tasks that wait may be cancelled."""

    def __init__(self, concurrency: int) -> None:
        self._pace = Pace(concurrency)
        self._changed = asyncio.Event()

    async def enter(self, pause: float) -> None:
        """Wait for `pause` seconds and until this task's request may start."""
        end = time.monotonic() + pause
        while (wait := self._pace.wait(end - time.monotonic())) > NOW:
            changed = self._changed
            try:
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await changed.wait()
            except TimeoutError:
                continue
        self._pace.start()

    def leave(self, *, refused: bool) -> None:
        """Count this task's request as ended: see `Pace.end`."""
        self._pace.end(refused=refused)
        self._changed.set()
        self._changed = asyncio.Event()
