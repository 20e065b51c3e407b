"""Work for a device that has nothing else to do."""

from __future__ import annotations

from typing import Final, Protocol

LOOK_SECONDS: Final = 0.05
"""How often a thread with nothing to do looks whether there is spare work."""


class SpareWork(Protocol):
    """Work that the worker's threads do while no image waits, and that ends soon once one does.

    The worker leaves one of several threads free, and asks for nothing once it drains.
    """

    @property
    def ready(self) -> bool:
        """Whether there is any to do now. Asked with the queue locked: must be quick and never raise."""

    def run(self) -> None:
        """Do one piece of it; end early once `Backlog.crowded`. Raises WorkerDead only, if the device has failed."""
