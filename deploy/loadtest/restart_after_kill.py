"""Kill -9 under load: what callers get, and how soon the service is back.

    python -m deploy.loadtest.restart_after_kill --callers 4 --kills 3

A minimal supervisor starts the service again whenever it ends. Callers send one request after another, and send again
what got no answer or a 5xx. Prints one JSON object; the exit status is 1 if a request was never answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from deploy.loadtest.exchange import Target, now
from deploy.loadtest.load import Call, Mix, Outcome, closed_loop
from deploy.loadtest.program import machine
from deploy.local_server import READY_SECONDS, SAMPLE_PAGE, LocalServer
from models.measurement.results import write_results

PAUSE_SECONDS: Final = 0.2


def answered(outcome: Outcome) -> bool:
    """Tell whether a caller is done: anything but a failure or a 5xx."""
    return not outcome.failure and outcome.status < 500


def until_answered(call: Call, outcome: Outcome) -> float | None:
    """Send again until there is an answer, as long as a start may take."""
    return None if answered(outcome) or outcome.ended > call.due + READY_SECONDS else PAUSE_SECONDS


async def supervise(server: LocalServer) -> None:
    """Start the service again whenever it ends."""
    while True:
        if server.process.poll() is not None:
            server.start()
        await asyncio.sleep(0.02)


async def run(callers: int, kills: int) -> dict[str, Any]:
    """Kill the service `kills` times under load; return the results, times in seconds."""
    mix, stop = Mix((SAMPLE_PAGE.read_bytes(),), ("",)), asyncio.Event()
    with LocalServer(LOG_LEVEL="error") as server:
        first, again = await asyncio.to_thread(server.wait_until_ready), []
        supervisor = asyncio.create_task(supervise(server))
        load = asyncio.create_task(
            closed_loop(Target.of(server.url), mix, callers=callers, stop=stop, again=until_answered)
        )
        for _ in range(kills):
            await asyncio.sleep(1)
            killed = server.process
            killed.kill()
            started = now()
            while server.process is killed:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.wait_until_ready)
            again.append(round(now() - started, 2))
        await asyncio.sleep(1)
        stop.set()
        outcomes = await load
        supervisor.cancel()
    sent = sum(outcome.attempt == 0 for outcome in outcomes)
    return {
        "sent": sent,
        "lost": sent - sum(map(answered, outcomes)),
        "tries_by_outcome": dict(sorted(Counter(outcome.result for outcome in outcomes).items())),
        "first_ready_s": round(first, 2),
        "ready_again_s": again,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    environment = machine()
    results = {"callers": arguments.callers, "kills": arguments.kills}
    results |= asyncio.run(run(arguments.callers, arguments.kills))
    write_results(arguments.output, {"environment": environment, **results})
    print(json.dumps(results))
    raise SystemExit(results["lost"] > 0)


if __name__ == "__main__":
    main()
