"""Admission: how many requests are under way, and which are refused before their bodies are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from service.errors import QueueFull, ServiceError
from service.scheduling.request_queue import WAIT_SAFETY_FACTOR


class Backlog(Protocol):
    """The images that wait for the device or run on it."""

    @property
    def full(self) -> bool:
        """Whether one more image would be refused."""

    @property
    def images(self) -> int:
        """How many they are."""

    def wait(self, unknown: int = 0) -> float:
        """Estimated seconds until an image would begin that arrives now, after `unknown` more of unknown cost."""


class Admission:
    """Bounds the requests under way, and with them, together with the limits on bodies, the memory.

    A request that the queue would refuse is refused here, before its body is read and decoded. `refusal` returns why
    no request can be taken at all, or None. `on_inflight` is called with the number of requests under way whenever
    it changes. `clock` returns seconds that never go back.
    """

    def __init__(
        self,
        refusal: Callable[[], ServiceError | None],
        backlog: Backlog,
        limit: int,
        on_inflight: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._refusal = refusal
        self._backlog = backlog
        self._limit = limit
        self._on_inflight = on_inflight
        self._clock = clock
        self._reading = 0
        self.inflight = 0

    @contextmanager
    def admit(self, deadline: float) -> Iterator[None]:
        """Count the request as under way during the block, or raise `refusal`'s error or QueueFull.

        A request whose deadline leaves too little time is refused now: reading and decoding it first would take time
        from the requests that can still be answered.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if self._backlog.full:
            raise QueueFull(self._backlog.wait())
        wait = self.wait
        if self.inflight >= self._limit:
            raise QueueFull(wait, "Too many requests are under way.")
        if wait > 0 and self._clock() + WAIT_SAFETY_FACTOR * wait > deadline:
            raise QueueFull(wait, "More requests are under way than the deadline allows.")
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Leave the request out of the estimated wait while its body arrives: a slow sender delays no other request."""
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1

    @property
    def wait(self) -> float:
        """Estimated seconds until an image could begin that arrives now.

        Requests that are being decoded count with what an image costs on average, images that the queue knows with
        their own predicted cost.
        """
        return self._backlog.wait(max(0, self.inflight - self._reading - self._backlog.images))

    def _count(self, change: int) -> None:
        self.inflight += change
        self._on_inflight(self.inflight)
