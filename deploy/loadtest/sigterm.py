"""SIGTERM under load: what was accepted is answered, what comes later is told so, and the process ends.

    python -m deploy.loadtest.sigterm [--factor 2] [--seconds 10] [--output figures.json]

Starts a service of its own, with the settings of the environment, gives it more than it can take, and sends SIGTERM in
the middle. The exit status is 1 when a promise was broken. What kill -9 does: restart_after_kill.py.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from deploy.loadtest.callers import Outcome, open_loop
from deploy.loadtest.capacity import add_capacity_options, capacity
from deploy.loadtest.exchange import CUT, REFUSED, now
from deploy.loadtest.own_server import OwnServer
from deploy.loadtest.report import Promise, add_traffic_options, circumstances, finish, mix_of, say, show
from deploy.loadtest.summary import summarize
from deploy.loadtest.traffic import Phase, schedule

BEFORE: Final = "before"
AFTER: Final = "after"
EDGE_SECONDS: Final = 0.5
"""About a signal, and about the closing of the port: within it a call may find either state."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under load. Times are seconds from the first call: the signal, the end of the process; its status.

    `taken` has the ids of the requests that the service let in, by its own log.
    """

    outcomes: Sequence[Outcome]
    signalled: float
    ended: float
    status: int
    drain_seconds: float
    taken: frozenset[str]

    @property
    def waiting(self) -> list[Outcome]:
        """The calls that had been sent, and not answered, when the signal came."""
        return [one for one in self.outcomes if one.sent < self.signalled < one.ended]


def judge(stop: Stop) -> list[Promise]:
    """Judge every promise."""
    waiting = Counter(one.failure or str(one.status) for one in stop.waiting)
    late = [one for one in stop.outcomes if one.sent > stop.signalled + EDGE_SECONDS]
    later = Counter(one.failure or str(one.status) for one in late)
    # A connection that the kernel took just before the port closed is reset: nothing of it had been read.
    closed = min((one.sent for one in late if one.failure == REFUSED), default=stop.ended)
    early = sum(1 for one in late if one.failure == CUT and one.sent < closed - EDGE_SECONDS)
    taken = stop.ended - stop.signalled
    accepted = [one for one in stop.outcomes if one.request_id in stop.taken and one.ended > stop.signalled]
    lost = sum(1 for one in accepted if not one.accepted)
    return [
        Promise(
            "what was accepted is answered",
            bool(accepted) and not lost,
            f"{len(accepted)} accepted requests were under way at the signal, {lost} of them got no answer",
        ),
        Promise(
            "what had been sent is answered, if only with 503",
            set(waiting) <= {"200", "429", "503"},
            f"{len(stop.waiting)} waited for their answer: {dict(waiting)}",
        ),
        Promise(
            "what comes later is refused cleanly",
            set(later) <= {"503", REFUSED, CUT} and early == 0,
            f"{len(late)} calls: {dict(later)}; {early} cut while the port was open",
        ),
        Promise("it ends with status 0", stop.status == 0, f"status {stop.status}"),
        Promise(
            "it ends in time",
            taken <= stop.drain_seconds + 10,
            f"{taken:.1f} s after the signal, of {stop.drain_seconds:g} s for draining",
        ),
    ]


async def stop_under_load(server: OwnServer, arguments: argparse.Namespace, drain_seconds: float) -> Stop:
    """Measure the capacity, send `factor` times as much, and SIGTERM halfway."""
    mix = mix_of(arguments)
    can = await capacity(server.target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed)
    rate, half = arguments.factor * can, arguments.seconds / 2
    say(f"{can:.2f} answers a second; now {rate:.2f} calls a second, and SIGTERM after {half:g} s")
    calls = schedule([Phase(BEFORE, rate, half), Phase(AFTER, rate, half)], mix, arguments.seed, arguments.arrivals)
    start = now() + 0.1
    calling = asyncio.create_task(open_loop(server.target, calls, start=start))
    await asyncio.sleep(start + half - now())
    server.process.send_signal(signal.SIGTERM)
    signalled = now() - start
    status, ended = await server.ended()
    outcomes = await calling
    return Stop(outcomes, signalled, ended - start, status, drain_seconds, frozenset(server.taken()))


async def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Promise]]:
    """Start the service, stop it under load, print; return the figures and the promises."""
    from service.settings import load_settings

    with OwnServer() as server:
        await server.ready()
        facts = await circumstances(server.target)
        stop = await stop_under_load(server, arguments, load_settings().drain_seconds)
    promises = judge(stop)
    half = arguments.seconds / 2
    phases = {name: summarize([one for one in stop.outcomes if one.phase == name], half) for name in (BEFORE, AFTER)}
    show(phases, promises)
    found = {
        "circumstances": facts,
        "waiting_at_sigterm": len(stop.waiting),
        "seconds_to_end": round(stop.ended - stop.signalled, 3),
        "exit_status": stop.status,
        "phases": {name: asdict(one) for name, one in phases.items()},
        "promises": [asdict(promise) for promise in promises],
    }
    return found, promises


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=2.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load; the signal comes halfway")
    add_capacity_options(parser)
    add_traffic_options(parser)
    arguments = parser.parse_args(argv)
    found, promises = asyncio.run(run(arguments))
    finish(arguments.output, found, promises)


if __name__ == "__main__":
    main()
