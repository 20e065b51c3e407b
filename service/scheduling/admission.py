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
    def room(self) -> int:
        """How many more images would be taken."""

    @property
    def images(self) -> int:
        """How many they are."""

    def wait(self, unknown: int = 0) -> float:
        """Estimated seconds until an image would begin that arrives now, after `unknown` more of unknown cost."""

    def crowded(self, unknown: int = 0) -> bool:
        """Whether spare work has to make way for what waits, and for `unknown` more; and once no more are taken."""


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
        self._images = 0
        self._reading = 0
        self.inflight = 0

    @contextmanager
    def admit(self, deadline: float, images: int = 1) -> Iterator[None]:
        """Count the request as under way during the block, or raise `refusal`'s error or QueueFull.

        A request whose deadline leaves too little time is refused now: reading and decoding it first would take time
        from the requests that can still be answered. `images` is how often it is going to need the device; of several,
        all have to fit, and the last one has to begin in time.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if self._backlog.room < images:
            raise QueueFull(self._backlog.wait(), None if images == 1 else f"The request waits for {images} images.")
        wait = self._wait(images - 1)
        if self.inflight >= self._limit:
            raise QueueFull(wait, "Too many requests are under way.")
        if wait > 0 and self._clock() + WAIT_SAFETY_FACTOR * wait > deadline:
            raise QueueFull(wait, "More requests are under way than the deadline allows.")
        self._count(1, images)
        try:
            yield
        finally:
            self._count(-1, -images)

    @contextmanager
    def reading(self, images: int = 1) -> Iterator[None]:
        """Leave the request out of the estimated wait while its body arrives: a slow sender delays no other request."""
        self._reading += images
        try:
            yield
        finally:
            self._reading -= images

    @property
    def coming(self) -> int:
        """Images under way that neither wait for the device nor run on it: most of them are being decoded."""
        return max(0, self._images - self._reading - self._backlog.images)

    @property
    def wait(self) -> float:
        """Estimated seconds until an image could begin that arrives now.

        Requests that are being decoded count with what an image costs on average, images that the queue knows with
        their own predicted cost.
        """
        return self._wait(0)

    def _wait(self, more: int) -> float:
        """Estimated seconds until an image could begin that comes after `more` others that arrive now."""
        return self._backlog.wait(self.coming + more)

    def _count(self, requests: int, images: int) -> None:
        self._images += images
        self.inflight += requests
        self._on_inflight(self.inflight)
