"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from service.client.answers import problem_of

Answer = httpx.Response | httpx.RequestError
"""What came of one attempt."""

_REFUSED_FOR_NOW: Final = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_OF_A_PROXY: Final = (httpx.codes.INTERNAL_SERVER_ERROR, httpx.codes.BAD_GATEWAY)
"""Statuses that mean a process that has just gone, where they are no problem of the service's own."""
_CONNECTION: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is with a service that refuses for now (429, 503) or that it cannot reach.

    A request is sent at most `attempts` times, and no more once `total_seconds` have passed since the first refusal.
    The pause before the next attempt is what `Retry-After` says and a random part of as much again; without it, random
    up to `first_delay` seconds, twice as much each time, `max_delay` at most.

    A request without an answer in time is not sent again: the service may still be at work on it.
    """

    attempts: int = 6
    total_seconds: float = 60.0
    first_delay: float = 0.25
    max_delay: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.total_seconds, self.first_delay, self.max_delay) < 0:
            raise ValueError("a retry policy has at least one attempt, and times of at least 0 seconds")


ONCE: Final = RetryPolicy(attempts=1)


class Attempts:
    """Those of one request."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._draw = draw
        self._made = 0
        self._end: float | None = None

    def pause_after(self, answer: Answer) -> float | None:
        """Return the seconds until the next attempt, None if this answer is to be the last."""
        self._made += 1
        if self._made >= self._policy.attempts or not may_pass(answer):
            return None
        now = self._clock()
        self._end = now + self._policy.total_seconds if self._end is None else self._end
        left = self._end - now
        asked = retry_after(answer)
        if left <= 0 or asked > left:
            return None
        ceiling = min(self._policy.max_delay, self._policy.first_delay * 2 ** (self._made - 1))
        return min(left, asked + self._draw() * (asked or ceiling))


def may_pass(answer: Answer) -> bool:
    """Return whether the same request may be answered later: 429, 503, and connections that fail."""
    if isinstance(answer, httpx.RequestError):
        return isinstance(answer, _CONNECTION)
    return answer.status_code in _REFUSED_FOR_NOW or (answer.status_code in _OF_A_PROXY and problem_of(answer) is None)


def retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait; 0 if it does not say.

    A date counts from the answer's own `Date`, so that clocks may differ.
    """
    if isinstance(answer, httpx.RequestError):
        return 0.0
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    then, now = _date(text), _date(answer.headers.get("date", "")) or datetime.now(UTC)
    return 0.0 if then is None else max(0.0, (then - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
