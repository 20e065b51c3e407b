"""SIGTERM under load: accepted requests are answered, later ones are refused cleanly, and the process ends.

    python -m deploy.loadtest.sigterm [--factor 2] [--seconds 10] [--output results.json]

Starts a service with the settings of the environment, gives it more than it can take, and sends SIGTERM in the middle.
The exit status is 1 when a check fails. For kill -9: restart_after_kill.py.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deploy.loadtest.checks import Check, finish
from deploy.loadtest.exchange import CUT, REFUSED, Target, now
from deploy.loadtest.load import Outcome, Phase, capacity, open_loop, schedule
from deploy.loadtest.program import environment, local_service, mix_of, options
from deploy.loadtest.summary import summarize

BEFORE: Final = "before"
AFTER: Final = "after"
EDGE_SECONDS: Final = 0.5
"""Around the signal, and around the closing of the port: within it a call may find either state."""
SLACK_SECONDS: Final = 10.0
"""How long the process may take to end beyond its drain."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under load. Times are seconds from the first call: the signal, the end of the process; its exit status.

    `accepted` has the ids of the requests that the service let in, by its own log.
    """

    outcomes: Sequence[Outcome]
    signalled: float
    ended: float
    status: int
    drain_seconds: float
    accepted: frozenset[str]

    @property
    def waiting(self) -> list[Outcome]:
        """The calls that had been sent, and not answered, when the signal came."""
        return [outcome for outcome in self.outcomes if outcome.sent < self.signalled < outcome.ended]


def run_checks(stop: Stop) -> list[Check]:
    """Check every guarantee of a stop."""
    accepted = [one for one in stop.outcomes if one.request_id in stop.accepted and one.ended > stop.signalled]
    lost = sum(not outcome.accepted for outcome in accepted)
    waiting = Counter(outcome.result for outcome in stop.waiting)
    late = [outcome for outcome in stop.outcomes if outcome.sent > stop.signalled + EDGE_SECONDS]
    later = Counter(outcome.result for outcome in late)
    # A connection that the kernel took just before the port closed is reset: nothing of it had been read.
    closed = min((outcome.sent for outcome in late if outcome.failure == REFUSED), default=stop.ended)
    early = sum(outcome.failure == CUT and outcome.sent < closed - EDGE_SECONDS for outcome in late)
    took = stop.ended - stop.signalled
    return [
        Check(
            "accepted requests are answered",
            bool(accepted) and not lost,
            f"{len(accepted)} were under way at the signal, {lost} of them got no answer",
        ),
        Check(
            "requests sent before the signal are answered, if only with 503",
            set(waiting) <= {"200", "429", "503"},
            f"{len(stop.waiting)} waited for their answer: {dict(waiting)}",
        ),
        Check(
            "later requests are refused cleanly",
            set(later) <= {"503", REFUSED, CUT} and early == 0,
            f"{len(late)} calls: {dict(later)}; {early} cut while the port was open",
        ),
        Check("it ends with status 0", stop.status == 0, f"status {stop.status}"),
        Check(
            "it ends in time",
            took <= stop.drain_seconds + SLACK_SECONDS,
            f"{took:.1f} s after the signal, of {stop.drain_seconds:g} s for draining",
        ),
    ]


async def run(arguments: argparse.Namespace) -> None:
    """Measure the capacity, send `factor` times as much, SIGTERM halfway, and finish with the checks."""
    from service.settings import load_settings

    mix, half = mix_of(arguments), arguments.seconds / 2
    with local_service() as server:
        target = Target.of(server.url)
        results: dict[str, Any] = {"environment": await environment(target)}
        rate = arguments.factor * await capacity(
            target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed
        )
        print(f"{rate:.2f} calls a second, {arguments.factor:g} times the capacity; SIGTERM after {half:g} s")
        calls = schedule([Phase(BEFORE, rate, half), Phase(AFTER, rate, half)], mix, arguments.seed)
        start = now() + 0.1
        calling = asyncio.create_task(open_loop(target, calls, start=start))
        await asyncio.sleep(start + half - now())
        signalled = now() - start
        server.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(server.process.wait, 120)
        ended = now() - start
        outcomes = await calling
        # Logged, and not as refused: the service had let it in.
        accepted = {line["request_id"] for line in server.log_lines() if line.get("status") not in (None, 429, 503)}
    stop = Stop(outcomes, signalled, ended, status, load_settings().drain_seconds, frozenset(accepted))
    results |= {
        "waiting_at_sigterm": len(stop.waiting),
        "seconds_to_end": round(ended - signalled, 3),
        "exit_status": status,
    }
    phases = {name: summarize([one for one in outcomes if one.phase == name], half) for name in (BEFORE, AFTER)}
    finish(arguments.output, results, phases, run_checks(stop))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a check fails."""
    parser = options(__doc__, url=False)
    parser.add_argument("--factor", type=float, default=2.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the load; the signal comes halfway")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
