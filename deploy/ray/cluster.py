"""A Ray cluster of one node on this machine, and the application on it with replicas on CPUs."""

# ruff: noqa: S603, S607 - what is run is Ray's own

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "models" / "pretrained" / "sample-page.jpg"
INSIDE: Final = "ACT_DETR_CHECK_INSIDE"
"""Set in the environment that `environment` makes."""
HTTP_PORT: Final = 8000
PATIENCE_SECONDS: Final = 300
"""How long anything may take, so that a busy machine is not taken for a fault."""
METRICS_PORT: Final = 9200
FIRST_RAY_PORT: Final = 6379
TRIES: Final = 3
RAY_PORTS: Final = (
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


def environment(*, second_try: bool) -> dict[str, str]:
    """Return the environment for a cluster: no proxy between it and its own ports, this repository on the path."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ours = {
        INSIDE: "1",
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


def _answers() -> bool:
    """Whether a replica is ready, by what the proxy passes on."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/readyz", timeout=20) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


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
    expect(eventually(_answers), "the application answers")
    expect(eventually(lambda: len(images(targets)) == count), f"replicas: {len(images(targets))}")


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
