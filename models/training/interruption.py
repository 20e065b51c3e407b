"""Stop on a signal: a run ends after its current step, with everything saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether a signal has asked the run to stop."""

    def __init__(self) -> None:
        self.wanted = False

    def ask(self, signal_number: int, frame: FrameType | None) -> None:
        """Take note of a signal; a second one ends the process as if there were no handler."""
        self.wanted = True
        signal.signal(signal_number, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Take SIGTERM and SIGINT as requests to stop while the block lasts; main thread only."""
    interruption = Interruption()
    before = {signal_number: signal.signal(signal_number, interruption.ask) for signal_number in SIGNALS}
    try:
        yield interruption
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
