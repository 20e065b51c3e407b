"""One phase of load on one server, and the figures of its rounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.loadtest.exchange import now
from deploy.loadtest.load import Mix, Outcome, Phase, closed_loop, open_loop, schedule
from deploy.loadtest.process_tree import usage
from deploy.loadtest.summary import in_time, percentiles
from deploy.peers.contestants import Running


@dataclass(frozen=True, slots=True)
class Part:
    """What one round measured: all attempts of a phase of `seconds`, CPU seconds and peak bytes of the server.

    The CPU time and the memory are until the last answer, which may come after the phase.
    """

    seconds: float
    outcomes: tuple[Outcome, ...]
    cpu_seconds: float
    peak_bytes: int

    @property
    def images_per_s(self) -> float:
        """Images answered a second, up to the end of the phase."""
        return sum(one.accepted and one.ended <= self.seconds for one in self.outcomes) / self.seconds


async def closed(server: Running, mix: Mix, callers: int, seconds: float, seed: int) -> Part:
    """Let callers send one image after another."""
    stop = asyncio.Event()
    with usage(server.pid) as used:
        asyncio.get_running_loop().call_later(seconds, stop.set)
        outcomes = await closed_loop(server.target, mix, callers=callers, stop=stop, seed=seed)
    return Part(seconds, tuple(outcomes), used.cpu_seconds, used.peak_bytes)


async def opened(server: Running, mix: Mix, rate: float, seconds: float, seed: int) -> Part:
    """Send images at Poisson times, `rate` a second on average; the same times for the same seed."""
    calls = schedule([Phase("open", rate, seconds)], mix, seed)
    with usage(server.pid) as used:
        outcomes = await open_loop(server.target, calls, start=now() + 0.1)
    return Part(seconds, tuple(outcomes), used.cpu_seconds, used.peak_bytes)


def figures(parts: Sequence[Part], deadline_s: float) -> dict[str, Any]:
    """Return the figures of a phase over all its rounds.

    Rates are images a second; `goodput_per_s` counts those answered within the deadline of when they were due, and
    `in_time` is its share of all calls. Latencies are of answered calls. CPU time is divided by the answered images,
    None where there are none.
    """
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    accepted = [outcome for outcome in outcomes if outcome.accepted]
    seconds = sum(part.seconds for part in parts)
    good = in_time(outcomes, deadline_s)
    cpu = sum(part.cpu_seconds for part in parts)
    return {
        "seconds": seconds,
        "calls": len(outcomes),
        "images_per_s": round(sum(part.images_per_s * part.seconds for part in parts) / seconds, 3),
        "images_per_s_by_round": [round(part.images_per_s, 3) for part in parts],
        "goodput_per_s": round(good / seconds, 3),
        "in_time": round(good / len(outcomes), 4) if outcomes else None,
        "ms": percentiles([1e3 * outcome.latency for outcome in accepted]),
        "by_status": dict(sorted(Counter(outcome.result for outcome in outcomes).items())),
        "cpu_s_per_image": round(cpu / len(accepted), 4) if accepted else None,
        "peak_mb": round(max(part.peak_bytes for part in parts) / 1e6, 1),
    }
