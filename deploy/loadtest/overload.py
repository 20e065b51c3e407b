"""Find out what a service can take, give it ten times that, go back, and see that it kept its promises.

    python -m deploy.loadtest.overload --seconds 180 [--factor 10] [--url http://127.0.0.1:8000] [--output figures.json]

Without --url it starts a service of its own, with the settings of the environment. The exit status is 1 when a promise
was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from typing import Any

from deploy.loadtest.callers import as_told
from deploy.loadtest.capacity import CALM, add_capacity_options, capacity
from deploy.loadtest.exchange import Target, exchange
from deploy.loadtest.open_loop import add_service_options, service, watched
from deploy.loadtest.own_server import OwnServer
from deploy.loadtest.promises import AFTER, BEFORE, OVERLOAD, SLACK_SECONDS, Overload, figures, judge
from deploy.loadtest.report import Promise, add_traffic_options, circumstances, finish, mix_of, say, show, write_records
from deploy.loadtest.traffic import Mix, Phase, schedule
from deploy.loadtest.watch import answered


def after_seconds(arguments: argparse.Namespace, can: float, max_inflight: int) -> float:
    """Return how long the calm after the overload must be to show the backlog done and calls normal again."""
    deadline = max(arguments.deadline_ms or [30_000.0]) / 1e3
    backlog = min(max_inflight / can, deadline) / (1 - CALM)
    return float(1.5 * backlog + SLACK_SECONDS + arguments.calm_seconds)


async def overload(
    target: Target, server: OwnServer | None, mix: Mix, arguments: argparse.Namespace
) -> tuple[Overload, list[Promise]]:
    """Run the phases and judge what was seen."""
    limits = json.loads((await exchange(target, "GET", "/model", patience=30)).body)["limits"]
    can = await capacity(target, mix, arguments.callers, arguments.capacity_seconds, arguments.seed)
    say(f"{arguments.callers} callers get {can:.2f} answers a second; now {arguments.factor:g} times that")
    after = after_seconds(arguments, can, limits["max_inflight"])
    phases = [
        Phase(BEFORE, CALM * can, arguments.calm_seconds),
        Phase(OVERLOAD, arguments.factor * can, arguments.seconds),
        Phase(AFTER, CALM * can, after),
    ]
    calls = schedule(phases, mix, arguments.seed, arguments.arrivals, arguments.retry_share)
    counted = await answered(target)
    outcomes, watch = await watched(target, calls, as_told, every=min(1.0, arguments.seconds / 20))
    told = None if server is None else dict(await answered(target) - counted)
    write_records(arguments.records, outcomes)
    seen = Overload(
        can,
        arguments.calm_seconds,
        arguments.seconds,
        after,
        outcomes,
        watch.samples,
        limits["max_queue"],
        limits["max_inflight"],
    )
    return seen, judge(seen, told, None if server is None else server.errors_logged())


async def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Promise]]:
    """Start what is needed, run, print; return the figures and the promises."""
    mix = mix_of(arguments)
    async with service(arguments.url, arguments.api_key) as (target, server):
        facts = await circumstances(target)
        seen, promises = await overload(target, server, mix, arguments)
    show(seen.summaries(), promises)
    return {"circumstances": facts, "factor": arguments.factor, **figures(seen, promises)}, promises


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=10.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=120.0, help="of overload")
    parser.add_argument("--calm-seconds", type=float, default=15.0, help="before, and after once all is done")
    add_capacity_options(parser)
    add_service_options(parser)
    add_traffic_options(parser)
    arguments = parser.parse_args(argv)
    found, promises = asyncio.run(run(arguments))
    finish(arguments.output, found, promises)


if __name__ == "__main__":
    main()
