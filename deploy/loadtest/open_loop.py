"""Call a service at a given rate, whatever it answers, and say what became of the calls.

    python -m deploy.loadtest.open_loop --url http://127.0.0.1:8000 --rate 5 --seconds 60 [--output figures.json]

Without --url it starts a service of its own, with the settings of the environment. Latencies count from the times at
which calls were due (no coordinated omission).
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.loadtest.callers import Again, Outcome, as_told, open_loop
from deploy.loadtest.exchange import Target, now
from deploy.loadtest.own_server import OwnServer
from deploy.loadtest.report import add_traffic_options, circumstances, mix_of, say, show, write, write_records
from deploy.loadtest.summary import summarize
from deploy.loadtest.traffic import Call, Phase, schedule
from deploy.loadtest.watch import Sample, Watch


async def watched(
    target: Target,
    calls: Sequence[Call],
    again: Again,
    every: float = 1.0,
    seen: Callable[[Sample], None] | None = None,
) -> tuple[list[Outcome], Watch]:
    """Make the calls while the service is sampled; return what became of them, and the samples.

    `seen` is told of each sample when it is taken.
    """
    start = now() + 0.1
    watch = Watch(target, start, every, seen)
    watching = asyncio.create_task(watch.run())
    try:
        outcomes = await open_loop(target, calls, start=start, again=again)
    finally:
        watch.stop()
        await watching
    return outcomes, watch


@asynccontextmanager
async def service(url: str | None, api_key: str) -> AsyncIterator[tuple[Target, OwnServer | None]]:
    """Give the service at the url or, where there is none, one of our own, ready."""
    if url is not None:
        yield Target.of(url, api_key), None
        return
    with OwnServer() as server:
        say("starting a service of our own")
        await server.ready()
        yield server.target, server


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the calls, print the tables; return the figures."""
    mix = mix_of(arguments)
    calls = schedule(
        [Phase("load", arguments.rate, arguments.seconds)],
        mix,
        arguments.seed,
        arguments.arrivals,
        arguments.retry_share,
    )
    async with service(arguments.url, arguments.api_key) as (target, _):
        facts = await circumstances(target)
        outcomes, watch = await watched(target, calls, as_told)
    summaries = {"load": summarize(outcomes, arguments.seconds)}
    show(summaries)
    write_records(arguments.records, outcomes)
    return {
        "circumstances": facts,
        "phases": {name: asdict(one) for name, one in summaries.items()},
        "samples": [asdict(sample) for sample in watch.samples],
        "samples_missed": watch.missed,
    }


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is called."""
    parser.add_argument("--url", help="http://host:port of a service that runs; else one is started")
    parser.add_argument("--api-key", default="", help="a key, where the service asks for one")
    parser.add_argument("--retry-share", type=float, default=0.05, help="of the refused, who call again as told")
    parser.add_argument("--records", type=Path, help="file for every attempt, a line of JSON each")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, required=True, help="calls a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    add_service_options(parser)
    add_traffic_options(parser)
    arguments = parser.parse_args()
    write(arguments.output, asyncio.run(run(arguments)))


if __name__ == "__main__":
    main()
