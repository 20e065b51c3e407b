"""How much a service can do: the calls a second that callers who wait for their answers get done."""

from __future__ import annotations

import argparse
from typing import Final

from deploy.loadtest.callers import closed_loop
from deploy.loadtest.exchange import Target
from deploy.loadtest.traffic import Mix

CALM: Final = 0.3
"""Share of the capacity that leaves a service calm."""


def add_capacity_options(parser: argparse.ArgumentParser, seconds: float = 10.0) -> None:
    """Add the options that say how the capacity is found."""
    parser.add_argument("--capacity-seconds", type=float, default=seconds, help="for finding the capacity")
    parser.add_argument("--callers", type=int, default=8, help="at once, for finding the capacity")


async def capacity(target: Target, mix: Mix, callers: int, seconds: float, seed: int) -> float:
    """Return the calls a second that so many callers, who wait for their answers, get done.

    Raises SystemExit where the service accepts none.
    """
    await closed_loop(target, mix, callers=callers, seconds=min(3.0, seconds), seed=seed + 1)  # warms up
    done = [one for one in await closed_loop(target, mix, callers=callers, seconds=seconds, seed=seed) if one.accepted]
    if not done:
        raise SystemExit("the service accepted nothing while its capacity was measured")
    return len(done) / seconds
