"""Whether the service takes requests: warmed up, not draining, its device alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from service.errors import Draining, NotReady, QueueFull, ServiceError, WorkerDead
from service.scheduling.request_queue import CAUTION
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now

logger = logging.getLogger(__name__)


class DeviceProbe:
    """Asks the device whether it works, seldom and off the event loop; no answer in time is an answer too."""

    FRESH_SECONDS: Final = 2.0
    PATIENCE_SECONDS: Final = 10.0

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._asked = 0.0
        self._answer: asyncio.Task[None] | None = None

    async def healthy(self) -> bool:
        """Tell whether the last check, if it is fresh, or else a new one succeeded."""
        if self._answer is None or (self._answer.done() and now() - self._asked > self.FRESH_SECONDS):
            self._asked = now()
            self._answer = asyncio.create_task(asyncio.to_thread(self._check))
        await asyncio.wait({self._answer}, timeout=self.PATIENCE_SECONDS)
        return self._answer.done() and self._answer.exception() is None


class Readiness:
    """The state of the service. `worker_alive` tells of the inference thread, `probe` of the device."""

    def __init__(self, worker_alive: Callable[[], bool], probe: DeviceProbe) -> None:
        self._worker_alive = worker_alive
        self._probe = probe
        self._warm = False
        self._failed = False
        self.draining = False

    async def warm_up(self, warm_up: Callable[[], None]) -> None:
        """Run the detector's warm-up on a thread; become ready, or failed."""
        started = now()
        try:
            await asyncio.to_thread(warm_up)
        except Exception:
            self._failed = True
            logger.exception("the warm-up failed: the service will not become ready")
        else:
            self._warm = True
            logger.info("ready", extra={"warm_up_seconds": round(now() - started, 3)})

    def drain(self) -> None:
        """Take no more requests. May be called from a signal handler."""
        self.draining = True

    def refusal(self) -> ServiceError | None:
        """Return why a request cannot be taken now, as far as is known without asking the device."""
        if self.draining:
            return Draining()
        if self._failed or (self._warm and not self._worker_alive()):
            return WorkerDead()
        return None if self._warm else NotReady("The model is being warmed up.", headers={"Retry-After": "1"})

    async def ready(self) -> ServiceError | None:
        """Return why the service is not ready, having asked the device; None when it is."""
        refusal = self.refusal()
        if refusal is None and not await self._probe.healthy():
            return WorkerDead()
        return refusal

    async def dead(self) -> ServiceError | None:
        """Return why a restart is the only cure; None while there is hope, as in warming up and draining."""
        reason = await self.ready()
        return reason if isinstance(reason, WorkerDead) else None


class Line(Protocol):
    """What admission asks of the images that wait for the device; times in seconds."""

    @property
    def full(self) -> bool:
        """Whether one more would be refused."""

    @property
    def wait(self) -> float:
        """Until all that wait or run are done, about."""

    @property
    def seconds_per_image(self) -> float:
        """Device time of one image."""


class Admission:
    """Counts the requests under way, and bounds them: memory stays bounded by this and the body limits.

    What would be refused for a full line is refused here, before anybody reads or decodes it.
    """

    def __init__(self, readiness: Readiness, line: Line, limit: int, metrics: Metrics) -> None:
        self._readiness = readiness
        self._line = line
        self._limit = limit
        self._metrics = metrics
        self._reading = 0
        self.inflight = 0

    @contextmanager
    def admit(self, deadline: float) -> Iterator[None]:
        """Hold a place while the request is under way. Raises Draining, NotReady, WorkerDead or QueueFull.

        `deadline` is on the service's clock. What it leaves no time for is refused before its body is read: to read
        and decode what will be refused takes time from what is answered.
        """
        refusal = self._readiness.refusal()
        if refusal is not None:
            raise refusal
        if self._line.full:
            raise QueueFull(self._line.wait)
        if self.inflight >= self._limit:
            raise QueueFull(self.wait, "Too many requests are under way.")
        if self.wait > 0 and now() + CAUTION * self.wait > deadline:
            raise QueueFull(self.wait, "More is under way than the deadline allows.")
        self.inflight += 1
        self._metrics.inflight.set(self.inflight)
        try:
            yield
        finally:
            self.inflight -= 1
            self._metrics.inflight.set(self.inflight)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Leave a request out of the wait as long as its body arrives: a slow sender keeps nobody from the device."""
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1

    @property
    def wait(self) -> float:
        """Seconds, about, until all that is under way is done: what waits for the device, or for a thread before it."""
        return max(self._line.wait, (self.inflight - self._reading) * self._line.seconds_per_image)
