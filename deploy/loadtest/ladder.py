"""More load than the service can take, with and without a ladder: how much is answered within the target.

    python -m deploy.loadtest.ladder [--target-ms 2000] [--factor 1.5] [--seconds 60] [--output FILE]

Starts three services with the settings of the environment, and loads all at the same time, so that they share the
machine and whatever else it does. Two have no target; one of these gets the target as every call's deadline, the other
60 % of it, which refuses more and lets less of what began in time end late. The third has the target, a ladder, and the
target as the deadline. First callers that wait for their answers find what a service can do beside the others. Then all
get the same calls at Poisson times, `factor` times that. Calls without an answer in time count against each. The ladder
begins at rung 0, and its way down is part of the run. Each service has one CPU thread unless ACT_DETR_THREADS is set.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from deploy.loadtest.checks import Check, finish
from deploy.loadtest.exchange import Target, now
from deploy.loadtest.load import Call, Mix, Outcome, Phase, capacity, never, open_loop, schedule
from deploy.loadtest.program import environment, options
from deploy.loadtest.summary import in_time, summarize
from deploy.loadtest.watch import counts_by_label, model_card
from deploy.local_server import SAMPLE_PAGE, LocalServer
from service.scheduling.ladder import Ladder

WITHOUT: Final = "without"
SHORT: Final = "without, short deadline"
WITH: Final = "with a ladder"
DEADLINES: Final = {WITHOUT: 1.0, SHORT: 0.6, WITH: 1.0}
"""Deadline of the calls to each service, as a share of the target."""
PHASE: Final = "overload"
RUNGS: Final = "act_detr_rung_images_total"


async def until_calm(target: Target) -> None:
    """Wait until the ladder is at rung 0. Raises SystemExit where it does not come back there."""
    rungs = len((await model_card(target))["ladder"]["rungs"])
    end = now() + (rungs + 1) * Ladder.WINDOW_SECONDS
    while (await model_card(target))["ladder"]["rung"]:
        if now() > end:
            raise SystemExit("the ladder did not come back to rung 0 without load")
        await asyncio.sleep(0.5)


async def overload(target: Target, calls: Sequence[Call]) -> tuple[list[Outcome], Counter[str]]:
    """Send the calls; return what became of them, and the number of images that were answered at each rung."""
    before = await counts_by_label(target, RUNGS, "rung")
    outcomes = await open_loop(target, calls, start=now() + 0.1, again=never)
    return outcomes, await counts_by_label(target, RUNGS, "rung") - before


def summary(outcomes: Sequence[Outcome], rungs: Counter[str], seconds: float, target_s: float) -> dict[str, Any]:
    """Summarize one service's calls: as other programs do, and what was answered within the target, and how."""
    sent, answered = len(outcomes), sum(rungs.values())
    return {
        **summarize(outcomes, seconds),
        "in_time": in_time(outcomes, target_s),
        "goodput": round(in_time(outcomes, target_s) / sent, 3),
        "goodput_per_s": round(in_time(outcomes, target_s) / seconds, 3),
        "rungs": {rung: round(count / answered, 3) for rung, count in sorted(rungs.items())} if answered else {},
    }


def run_checks(phases: dict[str, dict[str, Any]]) -> list[Check]:
    """Check that the ladder answers more in time than the better of the others, and that nothing is lost."""
    goodput = {name: phase["goodput"] for name, phase in phases.items()}
    best = max(share for name, share in goodput.items() if name != WITH)
    observed = f"{goodput[WITH]:.1%} of the calls instead of {best:.1%}"
    lost = {name: phase["lost"] for name, phase in phases.items()}
    return [
        Check("more is answered within the target", goodput[WITH] > best, observed),
        Check("every request gets exactly one answer", not any(lost.values()), f"lost: {lost}"),
    ]


async def run(arguments: argparse.Namespace) -> None:
    """Measure the capacity, load all services at once, and finish with the checks."""
    target_ms, seconds, seed = arguments.target_ms, arguments.seconds, arguments.seed
    images = tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE])
    mix = Mix(images, tuple(arguments.query or ["attention=auto"]))
    threads = os.environ.get("ACT_DETR_THREADS", "1")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="act-detr-ladder-"))
        targets: dict[str, Target] = {}
        for name in DEADLINES:
            print(f"starting a service {name}", flush=True)
            log, target = Path(folder, f"{len(targets)}.log"), f"{target_ms:g}" if name == WITH else ""
            server = stack.enter_context(LocalServer(log, TARGET_MS=target, THREADS=threads))
            server.wait_until_ready()
            targets[name] = Target.of(server.url)
        results: dict[str, Any] = {"environment": await environment(targets[WITHOUT])}
        results["ladder"] = (await model_card(targets[WITH]))["ladder"]
        closed = (capacity(one, mix, arguments.callers, arguments.capacity_seconds, seed) for one in targets.values())
        rate = (await asyncio.gather(*closed))[0]
        print(f"{arguments.callers} callers get {rate:.2f} answers a second; now {arguments.factor:g} times that")
        await until_calm(targets[WITH])
        load = Phase(PHASE, arguments.factor * rate, seconds)
        schedules = {
            name: schedule([load], replace(mix, deadlines_ms=(share * target_ms,)), seed)
            for name, share in DEADLINES.items()
        }
        loads = (overload(targets[name], calls) for name, calls in schedules.items())
        ended = dict(zip(targets, await asyncio.gather(*loads), strict=True))
    results |= {"capacity_per_s": round(rate, 3), "factor": arguments.factor, "target_ms": target_ms}
    phases = {name: summary(*observed, seconds, target_ms / 1e3) for name, observed in ended.items()}
    for name, phase in phases.items():
        shares = ", ".join(f"rung {rung}: {share:.0%}" for rung, share in phase["rungs"].items())
        median, p95 = (phase["accepted_ms"][q] or math.nan for q in ("p50", "p95"))
        print(f"{name}: {phase['goodput']:.1%} in time; p50 {median:.0f} ms, p95 {p95:.0f} ms; {shares or 'no rungs'}")
    finish(arguments.output, results, phases, run_checks(phases))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 1 when a check fails."""
    parser = options(__doc__, capacity_seconds=6.0, url=False)
    parser.add_argument("--target-ms", type=float, default=2000.0, help="ACT_DETR_TARGET_MS, and each call's deadline")
    parser.add_argument("--factor", type=float, default=1.5, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
