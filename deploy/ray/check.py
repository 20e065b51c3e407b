"""Run the application on this machine with two CPU replicas, kill one under load, and see that nothing is lost.

    python -m deploy.ray.check [--seconds 20] [--no-second-try] [--one] [--output figures.json]

Some of Ray's ports bind every interface, so all runs in a network namespace of its own where that may be made (root
on Linux), and the cluster has a token of its own. Prints what was seen; fails at the first thing that is not so.
With --no-second-try the proxies are Ray's own, and what callers see of a replica's death is counted, not judged.
With --one a single replica runs, and nothing is killed: its rate is the one to hold the two replicas' against.
"""

# ruff: noqa: S606, S607 - what is run is this program and the system's own

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.ray.callers import Load, detect
from deploy.ray.cluster import INSIDE, PAGE, ROOT, cluster, environment, eventually, expect, images, replicas, start


def circumstances() -> dict[str, Any]:
    """What the figures mean nothing without: date, commit, command, processor and its load."""
    import torch

    from models.measurement.environment import run_environment

    ours = {
        name: value for name, value in run_environment(torch.device("cpu")).items() if name not in ("triton", "cuda")
    }
    return ours | {"cpus": len(os.sched_getaffinity(0))}


def detects() -> None:
    """The sample page gets its detections."""
    status, body = detect(PAGE.read_bytes())
    expect(status == "200", f"POST /detect: {status} {body[:200]!r}" if status != "200" else "POST /detect: 200")
    found = json.loads(body)["detections"]
    expect(bool(found), f"detections: {[row['label'] for row in found]}")


def counts_in_all(count: int, targets: Path) -> None:
    """Each replica has a metrics port, and each has worked."""
    counted = images(targets)
    expect(len(counted) == count and all(counted.values()), f"images by replica, each from its own port: {counted}")


def keeps_up(load: Load, seconds: float) -> dict[str, Any]:
    """Nothing is lost under load; return the figures."""
    with load.running():
        time.sleep(seconds)
    print(f"      {load.figures()}")
    expect(load.lost == 0, f"under load of {load.callers} callers, lost: {load.lost}")
    return load.figures()


def survives_a_kill(load: Load, seconds: float, *, second_try: bool) -> dict[str, Any]:
    """Kill -9 a replica in the middle of the load: no request is lost, and there are two again. Return the figures."""
    before = replicas()
    with load.running():
        time.sleep(seconds / 2)
        os.kill(before[0], signal.SIGKILL)
        killed = time.monotonic()
        replaced = eventually(lambda: len(set(replicas()) - {before[0]}) == len(before))
        waited = time.monotonic() - killed
        time.sleep(seconds / 2)
    print(f"      {load.figures()}")
    expect(replaced, f"kill -9 of one replica under load: another process runs {waited:.1f} s later")
    expect(load.lost == 0 or not second_try, f"lost, with no retry of the callers' own: {load.lost}")
    return load.figures() | {"another_process_after_s": round(waited, 1)}


def check(arguments: argparse.Namespace) -> dict[str, Any]:
    """Check the application, in the namespace; return the figures."""
    import ray
    from ray import serve

    count = 1 if arguments.one else 2
    found: dict[str, Any] = circumstances() | {"ray": ray.__version__, "replicas": count}
    with tempfile.TemporaryDirectory() as folder, cluster(folder):
        targets = Path(folder) / "targets"
        start(count, folder, targets)
        detects()
        found["load"] = keeps_up(Load(arguments.callers), arguments.seconds)
        counts_in_all(count, targets)
        if not arguments.one:
            found["kill"] = survives_a_kill(
                Load(arguments.callers), arguments.seconds, second_try=not arguments.no_second_try
            )
            expect(eventually(lambda: len(images(targets)) == count), f"metrics ports: {sorted(images(targets))}")
        serve.shutdown()
        expect(not list(targets.iterdir()), "stopped; no target is left")
    return found


def main() -> None:
    """Go into a network namespace where that can be, with the environment that the cluster is to have; then check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long each load lasts")
    parser.add_argument("--callers", type=int, default=4, help="how many send at a time")
    parser.add_argument("--no-second-try", action="store_true", help="with Ray's proxies as they are")
    parser.add_argument("--one", action="store_true", help="one replica, to compare with")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    if INSIDE in os.environ:
        found = check(arguments)
        if arguments.output is not None:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return
    command = [sys.executable, "-m", "deploy.ray.check", *sys.argv[1:]]
    if shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0:
        command = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "bash", *command]
    else:
        print("      no network namespace can be made here: Ray's ports are open while this runs", flush=True)
    os.chdir(ROOT)
    os.execvpe(command[0], command, environment(second_try=not arguments.no_second_try))


if __name__ == "__main__":
    main()
