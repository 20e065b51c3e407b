"""Run the application on this machine with two CPU replicas, kill one under load, and see that nothing is lost.

    python -m deploy.ray.check [--seconds 20] [--no-second-try] [--one]

Some of Ray's ports bind every interface, so all runs in a network namespace of its own where that may be made (root
on Linux), and the cluster has a token of its own. Prints what was seen; fails at the first thing that is not so.
With --no-second-try the proxies are Ray's own, and what callers see of a replica's death is counted, not judged.
With --one a single replica runs, and nothing is killed: its rate is the one to hold the two replicas' against.
"""

# ruff: noqa: S603, S606, S607 - what is run is this program and the system's own

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "models" / "pretrained" / "sample-page.jpg"
MARK = "ACT_DETR_CHECK_INSIDE"
HTTP_PORT = 8000
PATIENCE_SECONDS = 300
"""How long anything may take, so that a busy machine is not taken for a fault."""
METRICS_PORT = 9200
FIRST_RAY_PORT = 6379
TRIES = 3
RAY_PORTS = (
    "port",
    "object-manager-port",
    "node-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "ray-client-server-port",
)


def expect(holds: bool, what: str) -> None:
    """Print what was seen; end the program when it is not as it must be."""
    print(("ok    " if holds else "FAIL  ") + what, flush=True)
    if not holds:
        raise SystemExit(1)


def eventually(holds: Callable[[], bool], seconds: float = 300) -> bool:
    """Wait until it holds; return whether it came to."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@dataclass
class Load:
    """Callers that each send the sample page again and again, with no retry of their own, and what they got."""

    callers: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the block lasts; then wait for the last answers."""
        self._stop = threading.Event()
        threads = [threading.Thread(target=self._call) for _ in range(self.callers)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self.took = time.monotonic() - started

    @property
    def lost(self) -> int:
        """How many requests got neither a 200 nor a refusal that says when to come back (429)."""
        return self.sent - self.outcomes["200"] - self.outcomes["429"]

    def report(self) -> str:
        """Return the figures, in a line."""
        ordered = sorted(self.seconds) or [float("nan")]
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return (
            f"sent {self.sent}, answered {dict(self.outcomes)}, lost {self.lost}; of the 200s: "
            f"{self.outcomes['200'] / self.took:.2f} a second, p50 {p50:.2f} s, p99 {p99:.2f} s"
        )

    def _call(self) -> None:
        page = PAGE.read_bytes()
        while not self._stop.is_set():
            started = time.monotonic()
            outcome = detect(page)[0]
            self.sent += 1
            self.outcomes[outcome] += 1
            if outcome == "200":
                self.seconds.append(time.monotonic() - started)


def detect(page: bytes) -> tuple[str, bytes]:
    """Return the status of an answer, or the name of the exception in its place, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/detect", page)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, b""
    finally:
        connection.close()
    kind = answer.headers.get_content_type()
    return str(answer.status) + ("" if kind.endswith("json") else f" {kind}"), body


def replicas() -> list[int]:
    """Return the process ids of the replicas below this process: Ray names them so."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica:act-detr:Detector"):
                named.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return [pid for pid in named if _below(pid, os.getpid(), parents)]


def _below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid > 1 and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def images(targets: Path) -> dict[str, float]:
    """Return how many images each replica says that it has answered, by the address that its file tells."""
    counts = {}
    for file in sorted(targets.glob("*.json")):
        target = json.loads(file.read_text())[0]["targets"][0]
        try:
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=20) as answer:
                rows = answer.read().decode().splitlines()
        except (urllib.error.URLError, OSError):
            continue  # it died, and the one in its place is not up yet
        counts[target] = sum(float(row.split()[-1]) for row in rows if row.startswith("act_detr_images_total{"))
    return counts


@contextmanager
def cluster(folder: str) -> Iterator[None]:
    """Run a cluster of one node, this process's own, while the block lasts. Every port that Ray waits for is given."""
    import ray

    ports = {f"--{name}": str(FIRST_RAY_PORT + at) for at, name in enumerate(RAY_PORTS)}
    command = [
        *("ray", "start", "--head", "--block", "--num-cpus=4", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
        *("--include-dashboard=false", "--include-log-monitor=false", "--object-store-memory=100000000"),
        *(f"{name}={port}" for name, port in ports.items()),
    ]
    node = next((node for node in (_started(command, f"{folder}/start.log") for _ in range(TRIES)) if node), None)
    expect(node is not None, "the cluster runs")
    try:
        ray.init(address=f"127.0.0.1:{FIRST_RAY_PORT}", log_to_driver=False)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in place of Ray's, which leaves the node behind
        yield
    finally:
        ray.shutdown()
        if node is not None:
            node.terminate()
            node.wait()


def _started(command: list[str], file: str) -> subprocess.Popen[bytes] | None:
    """Start a node, and return it once it runs; None if it ended, as on a very busy machine."""
    log = Path(file)
    with log.open("w") as output:
        node = subprocess.Popen(command, stdout=output, stderr=output)
    up = eventually(lambda: node.poll() is not None or "will now block forever" in log.read_text())
    if up and node.poll() is None:
        return node
    node.terminate()
    node.wait()
    return None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(count: int, folder: str, targets: Path) -> None:
    """Submit deploy/ray/serve.yaml, changed to so many replicas on CPUs, and wait until they run."""
    configuration = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    configuration["http_options"] |= {"host": "127.0.0.1", "port": HTTP_PORT, "request_timeout_s": PATIENCE_SECONDS}
    (application,) = configuration["applications"]
    application["args"] |= {
        "min_replicas": count,
        "max_replicas": count,
        "gpus": 0,
        "cpus": 1,
        "metrics_host": "127.0.0.1",
        "metrics_port": METRICS_PORT,
        "metrics_targets": str(targets),
    }
    application["runtime_env"]["env_vars"] |= {
        "ACT_DETR_DEVICE": "cpu",
        "ACT_DETR_THREADS": "1",
        "ACT_DETR_DEADLINE_MS": str(1000 * PATIENCE_SECONDS),
    }
    changed = Path(folder) / "serve.yaml"
    changed.write_text(yaml.safe_dump(configuration))
    address = f"--address=127.0.0.1:{FIRST_RAY_PORT}"
    done = subprocess.run(["serve", "run", address, "--non-blocking", changed], capture_output=True, text=True)
    expect(done.returncode == 0, "serve run --non-blocking serve.yaml" + (done.stderr if done.returncode else ""))
    expect(eventually(lambda: _listens(HTTP_PORT) and detect(PAGE.read_bytes())[0] == "200"), "the application answers")
    expect(eventually(lambda: len(images(targets)) == count), f"replicas: {len(images(targets))}")


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


def survives_a_kill(load: Load, seconds: float, *, second_try: bool) -> None:
    """Kill -9 a replica in the middle of the load: no request is lost, and there are two again."""
    before = replicas()
    with load.running():
        time.sleep(seconds / 2)
        os.kill(before[0], signal.SIGKILL)
        killed = time.monotonic()
        replaced = eventually(lambda: len(set(replicas()) - {before[0]}) == len(before))
        waited = time.monotonic() - killed
        time.sleep(seconds / 2)
    print("      " + load.report())
    expect(replaced, f"kill -9 of one replica under load: another process runs {waited:.1f} s later")
    expect(load.lost == 0 or not second_try, f"lost, with no retry of the callers' own: {load.lost}")


def check(arguments: argparse.Namespace) -> None:
    """Check the application, in the namespace."""
    from ray import serve

    count = 1 if arguments.one else 2
    with tempfile.TemporaryDirectory() as folder, cluster(folder):
        targets = Path(folder) / "targets"
        start(count, folder, targets)
        detects()
        load = Load(arguments.callers)
        with load.running():
            time.sleep(arguments.seconds)
        print("      " + load.report())
        expect(load.lost == 0, f"under load of {arguments.callers} callers, lost: {load.lost}")
        counts_in_all(count, targets)
        if not arguments.one:
            survives_a_kill(Load(arguments.callers), arguments.seconds, second_try=not arguments.no_second_try)
            expect(eventually(lambda: len(images(targets)) == count), f"metrics ports: {sorted(images(targets))}")
        serve.shutdown()
        expect(not list(targets.iterdir()), "stopped; no target is left")


def main() -> None:
    """Go into a network namespace where that can be, with the environment that the cluster is to have; then check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long each load lasts")
    parser.add_argument("--callers", type=int, default=4, help="how many send at a time")
    parser.add_argument("--no-second-try", action="store_true", help="with Ray's proxies as they are")
    parser.add_argument("--one", action="store_true", help="one replica, to compare with")
    arguments = parser.parse_args()
    if MARK in os.environ:
        check(arguments)
        return
    command = [sys.executable, "-m", "deploy.ray.check", *sys.argv[1:]]
    if shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0:
        command = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "bash", *command]
    else:
        print("      no network namespace can be made here: Ray's ports are open while this runs", flush=True)
    os.chdir(ROOT)
    os.execvpe(command[0], command, environment(second_try=not arguments.no_second_try))


def environment(*, second_try: bool) -> dict[str, str]:
    """Return the environment for a cluster: no proxy between it and its own ports, this repository on the path."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ours = {
        MARK: "1",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{plain['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": str(1000 * PATIENCE_SECONDS),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    if second_try:
        ours["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "deploy.ray.proxy.middlewares"
    return plain | ours


if __name__ == "__main__":
    main()
