"""Measure a service: the rate of callers that wait for their answers, or latencies and results at a given rate.

    python -m deploy.loadtest.measure --callers 16 --seconds 60 --image page.jpg --query attention=act
    python -m deploy.loadtest.measure --rate 5 --seconds 60 --url http://127.0.0.1:8000

Without --url it starts a service, with the settings of the environment. With --rate, calls are sent at Poisson times,
whatever became of earlier ones, and latencies count from when calls were due.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from deploy.loadtest.checks import show
from deploy.loadtest.exchange import now
from deploy.loadtest.load import Phase, closed_loop_for, open_loop, schedule
from deploy.loadtest.program import environment, mix_of, options, service
from deploy.loadtest.summary import summarize
from models.measurement.results import write_results


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send the calls; return the results."""
    mix, seconds = mix_of(arguments), arguments.seconds
    with service(arguments.url, arguments.api_key) as (target, _):
        results: dict[str, Any] = {"environment": await environment(target)}
        if arguments.rate is None:
            await closed_loop_for(min(3.0, seconds), target, mix, callers=arguments.callers)  # warms up
            outcomes = await closed_loop_for(seconds, target, mix, callers=arguments.callers, seed=arguments.seed)
        else:
            calls = schedule([Phase("load", arguments.rate, seconds)], mix, arguments.seed, arguments.come_back)
            outcomes = await open_loop(target, calls, start=now() + 0.1)
    return {**results, "phases": {"load": summarize(outcomes, seconds)}}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = options(__doc__)
    parser.add_argument("--rate", type=float, help="calls a second; by default --callers send one after another")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args(argv)
    results = asyncio.run(run(arguments))
    write_results(arguments.output, results)
    show(results["phases"])


if __name__ == "__main__":
    main()
