"""Run the application on this machine with two CPU replicas, kill one under load, and check that nothing is lost.

    python -m deploy.ray.check [--seconds 20] [--no-second-try] [--one] [--output results.json]

Some of Ray's ports bind every interface, so all runs in a network namespace of its own where one can be made (root on
Linux), and the cluster has a token of its own. Prints what it observes; fails at the first thing that is wrong. With
--no-second-try the proxies are Ray's own, and what callers lose when a replica dies is counted, but not checked. With
--one a single replica runs, and none is killed: its rate is the one to compare the two replicas' with.
"""

# ruff: noqa: S606, S607 - it runs this program and the system's own

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.expect import expect
from deploy.loadtest.exchange import Target
from deploy.loadtest.load import Mix, closed_loop
from deploy.loadtest.program import machine
from deploy.loadtest.summary import percentiles
from deploy.local_server import ROOT, SAMPLE_PAGE, wait_until
from deploy.ray.cluster import PATIENCE_SECONDS, URL, cluster, deploy, environment, images, replicas
from models.measurement.results import write_results

INSIDE: Final = "ACT_DETR_CHECK_INSIDE"
"""Set in the environment of the program once it is in its namespace."""


async def load(callers: int, seconds: float, midway: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Let callers send the sample page in a closed loop, and run `midway` in the middle; return the results.

    `lost` are the requests that got neither a 200 nor a refusal that says when to come back (429).
    """
    mix = Mix((SAMPLE_PAGE.read_bytes(),), ("",), (1e3 * PATIENCE_SECONDS,))
    stop, started = asyncio.Event(), time.monotonic()
    calling = asyncio.create_task(closed_loop(Target.of(URL), mix, callers=callers, stop=stop))
    await asyncio.sleep(seconds / 2)
    await asyncio.to_thread(midway)
    await asyncio.sleep(seconds / 2)
    stop.set()
    outcomes = await calling
    by_status = Counter(outcome.result for outcome in outcomes)
    took = percentiles([outcome.latency for outcome in outcomes if outcome.accepted])
    results = {
        "callers": callers,
        "sent": len(outcomes),
        "answered": dict(by_status),
        "lost": len(outcomes) - by_status["200"] - by_status["429"],
        "answered_per_s": round(by_status["200"] / (time.monotonic() - started), 2),
        "p50_s": took["p50"],
        "p99_s": took["p99"],
    }
    print(f"      {results}")
    return results


def kill_one() -> None:
    """Kill -9 a replica, and wait until another process has replaced it."""
    before = replicas()
    os.kill(before[0], signal.SIGKILL)
    killed = time.monotonic()
    replaced = wait_until(lambda: len(set(replicas()) - {before[0]}) == len(before), PATIENCE_SECONDS)
    waited = time.monotonic() - killed
    expect(replaced, f"kill -9 of one replica under load: another process runs {waited:.1f} s later")


def check(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check the application; return the results."""
    import ray
    from ray import serve

    count, seconds, callers = 1 if arguments.one else 2, arguments.seconds, arguments.callers
    results: dict[str, Any] = machine() | {"ray": ray.__version__, "replicas": count}
    with tempfile.TemporaryDirectory() as name, cluster(Path(name)):
        targets = Path(name) / "targets"
        deploy(count, Path(name), targets)
        results["load"] = asyncio.run(load(callers, seconds))
        expect(results["load"]["lost"] == 0, "under load, lost: 0")
        counts = images(targets)
        expect(len(counts) == count and all(counts.values()), f"images by replica, each from its own port: {counts}")
        if not arguments.one:
            results["kill"] = asyncio.run(load(callers, seconds, kill_one))
            lost = results["kill"]["lost"]
            expect(
                lost == 0 or arguments.no_second_try, f"with a replica killed, no retry of callers' own, lost: {lost}"
            )
            expect(wait_until(lambda: len(images(targets)) == count, PATIENCE_SECONDS), f"metrics: {images(targets)}")
        serve.shutdown()
        expect(not list(targets.iterdir()), "stopped; no target file is left")
    return results


def main() -> None:
    """Start again in a network namespace where one can be made, with the environment of the cluster; then check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="length of each load")
    parser.add_argument("--callers", type=int, default=4, help="callers at a time")
    parser.add_argument("--no-second-try", action="store_true", help="with Ray's proxies as they are")
    parser.add_argument("--one", action="store_true", help="one replica, to compare with")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    if INSIDE in os.environ:
        write_results(arguments.output, check(arguments))
        return
    command = [sys.executable, "-m", "deploy.ray.check", *sys.argv[1:]]
    if shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0:
        command = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "bash", *command]
    else:
        print("      no network namespace can be made here: Ray's ports are open while this runs", flush=True)
    os.chdir(ROOT)
    os.execvpe(command[0], command, environment(second_try=not arguments.no_second_try) | {INSIDE: "1"})


if __name__ == "__main__":
    main()
