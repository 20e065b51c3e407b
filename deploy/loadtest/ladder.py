"""More load than the service can take, with and without a ladder: how much is answered within the target.

    python -m deploy.loadtest.ladder [--target-ms 2000] [--factor 1.5] [--seconds 20] [--rounds 2] [--output FILE]

Starts two services with the settings of the environment, one of which has ACT_DETR_TARGET_MS. Each round measures the
capacity of the other. Then the same calls are sent several times, one after the other, at Poisson times, `factor` times
that capacity: to the service without a target, with the target as every call's deadline and with 60 % of it, which
refuses more and lets less of what began in time end late; and to the service with a ladder, with the target as the
deadline. The order is another in every round. Calls without an answer in time count against each. The ladder begins at
rung 0, and its way down is part of a turn.
"""

from __future__ import annotations

import argparse
import asyncio
import math
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
"""Deadline of the calls of each turn, as a share of the target."""
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
    """Measure the capacity, let the services take turns, and finish with the checks."""
    target_ms, seconds = arguments.target_ms, arguments.seconds
    images = tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE])
    mix = Mix(images, tuple(arguments.query or ["attention=auto"]))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in DEADLINES}
    rungs: dict[str, Counter[str]] = {name: Counter() for name in DEADLINES}
    rates: list[float] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="act-detr-ladder-"))
        targets: dict[str, Target] = {}
        for name, setting in ((WITHOUT, ""), (WITH, f"{target_ms:g}")):
            print(f"starting a service {name}", flush=True)
            server = stack.enter_context(LocalServer(Path(folder, f"{len(targets)}.log"), TARGET_MS=setting))
            server.wait_until_ready()
            targets[name] = Target.of(server.url)
        targets[SHORT] = targets[WITHOUT]
        results: dict[str, Any] = {"environment": await environment(targets[WITHOUT])}
        results["ladder"] = (await model_card(targets[WITH]))["ladder"]
        for turn in range(arguments.rounds):
            seed, callers = arguments.seed + turn, arguments.callers
            rates.append(await capacity(targets[WITHOUT], mix, callers, arguments.capacity_seconds, seed))
            print(f"{callers} callers get {rates[-1]:.2f} answers a second; now {arguments.factor:g} times that")
            for name in list(DEADLINES)[:: -1 if turn % 2 else 1]:
                if name == WITH:
                    await until_calm(targets[WITH])
                hurried = replace(mix, deadlines_ms=(DEADLINES[name] * target_ms,))
                calls = schedule([Phase(PHASE, arguments.factor * rates[-1], seconds)], hurried, seed)
                more, used = await overload(targets[name], calls)
                outcomes[name] += more
                rungs[name] += used
    results |= {
        "capacity_per_s": [round(rate, 3) for rate in rates],
        "factor": arguments.factor,
        "target_ms": target_ms,
    }
    length = seconds * arguments.rounds
    phases = {name: summary(outcomes[name], rungs[name], length, target_ms / 1e3) for name in outcomes}
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
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one turn")
    parser.add_argument("--rounds", type=int, default=2, help="times that all take a turn")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
