"""Readiness: the service is warmed up, not draining, and its device works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from service.errors import Draining, NotReady, ServiceError, WorkerDead
from service.telemetry.request_record import now

logger = logging.getLogger(__name__)


class DeviceProbe:
    """Checks the device on a thread, at most every two seconds. No result in time counts as a failure."""

    MAX_AGE_SECONDS: Final = 2.0
    TIMEOUT_SECONDS: Final = 10.0

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._started = 0.0
        self._result: asyncio.Task[None] | None = None

    async def healthy(self) -> bool:
        """Return whether the last check succeeded; if it is stale, check again."""
        if self._result is None or (self._result.done() and now() - self._started > self.MAX_AGE_SECONDS):
            self._started = now()
            self._result = asyncio.create_task(asyncio.to_thread(self._check))
        await asyncio.wait({self._result}, timeout=self.TIMEOUT_SECONDS)
        return self._result.done() and self._result.exception() is None


class Readiness:
    """The state of the service. `worker_alive` is about the inference thread, `probe` about the device."""

    def __init__(self, worker_alive: Callable[[], bool], probe: DeviceProbe) -> None:
        self._worker_alive = worker_alive
        self._probe = probe
        self._warm = False
        self._failed = False
        self.draining = False

    async def warm_up(self, warm: Awaitable[None]) -> None:
        """Wait for the warm-up; become ready, or failed."""
        started = now()
        try:
            await warm
        except Exception:
            self._failed = True
            logger.exception("the warm-up failed: the service will not become ready")
        else:
            self._warm = True
            logger.info("ready", extra={"warm_up_seconds": round(now() - started, 3)})

    def drain(self) -> None:
        """Take no more requests. Signal handlers may call this."""
        self.draining = True

    def refusal(self) -> ServiceError | None:
        """Return why requests cannot be taken now, or None; the device is not asked."""
        if self.draining:
            return Draining()
        if self._failed or (self._warm and not self._worker_alive()):
            return WorkerDead()
        return None if self._warm else NotReady("The model is being warmed up.", headers={"Retry-After": "1"})

    async def ready(self) -> ServiceError | None:
        """Return why the service is not ready, or None; the device is asked."""
        refusal = self.refusal()
        if refusal is None and not await self._probe.healthy():
            return WorkerDead()
        return refusal

    async def dead(self) -> ServiceError | None:
        """Return why only a restart helps, or None, as while it warms up or drains."""
        reason = await self.ready()
        return reason if isinstance(reason, WorkerDead) else None
