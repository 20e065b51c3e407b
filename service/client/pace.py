"""How many requests are under way at a time: fewer, and none for a while, when the service refuses for now."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import CancelledError
from typing import Final

NOW: Final = 0.0


class Pace:
    """Decides when the next of many requests may start; it knows neither threads nor tasks.

    At most `limit` requests run at a time, `concurrency` at first. A refusal halves the limit, once for all requests
    that are refused within its pause, and nothing starts before the pause is over. Every answer raises the limit again,
    by one for as many answers as it lets run.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._limit = float(concurrency)
        self._running = 0
        self._held_until = -math.inf

    @property
    def limit(self) -> int:
        """The number of requests that may run now."""
        return int(self._limit)

    def wait(self, now: float) -> float:
        """Return the seconds until the next may start: 0 for now, infinity for not before another has ended."""
        return math.inf if self._running >= self.limit else max(NOW, self._held_until - now)

    def start(self) -> None:
        """Count one that starts."""
        self._running += 1

    def end(self, now: float, pause: float | None) -> None:
        """Count one that ended, with an answer or, if there is a `pause` in seconds, with a refusal for now."""
        self._running -= 1
        if pause is None:
            self._limit = min(self._concurrency, self._limit + 1 / self.limit)
            return
        if now >= self._held_until:
            self._limit = max(1.0, self._limit / 2)
        self._held_until = max(self._held_until, now + pause)


class Gate:
    """A pace for threads."""

    def __init__(self, concurrency: int) -> None:
        self._pace = Pace(concurrency)
        self._changed = threading.Condition()
        self._closed = False

    def enter(self) -> None:
        """Wait until this thread's request may start. Raises CancelledError if the gate is closed."""
        with self._changed:
            while not self._closed and (wait := self._pace.wait(time.monotonic())) > NOW:
                self._changed.wait(None if wait == math.inf else wait)
            if self._closed:
                raise CancelledError
            self._pace.start()

    def leave(self, pause: float | None) -> None:
        """Count this thread's request as ended: see `Pace.end`."""
        with self._changed:
            self._pace.end(time.monotonic(), pause)
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

    async def enter(self) -> None:
        """Wait until this task's request may start."""
        while (wait := self._pace.wait(time.monotonic())) > NOW:
            changed = self._changed
            try:
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await changed.wait()
            except TimeoutError:
                continue
        self._pace.start()

    def leave(self, pause: float | None) -> None:
        """Count this task's request as ended: see `Pace.end`."""
        self._pace.end(time.monotonic(), pause)
        self._changed.set()
        self._changed = asyncio.Event()
