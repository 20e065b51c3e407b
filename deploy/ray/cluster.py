"""A Ray cluster of one node on this machine, and the application on it with CPU replicas."""

# ruff: noqa: S603, S607 - it runs Ray's own programs

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import yaml

from deploy.expect import expect
from deploy.local_server import ROOT, wait_until, wait_until_ready

URL: Final = "http://127.0.0.1:8000"
PATIENCE_SECONDS: Final = 300
"""How long anything may take, so that a busy machine is not taken for a fault."""
METRICS_PORT: Final = 9200
FIRST_RAY_PORT: Final = 6379
TRIES: Final = 3
"""Starts of a node: one ends by itself on a very busy machine."""
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


def environment(*, second_try: bool) -> dict[str, str]:
    """Return the environment of a cluster: no proxy between it and its own ports, this repository on the path."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ours = {
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
def cluster(folder: Path) -> Iterator[None]:
    """Run a cluster of one node while the block lasts. Every port that Ray waits for is given."""
    import ray

    ports = (f"--{name}={FIRST_RAY_PORT + index}" for index, name in enumerate(RAY_PORTS))
    command = [
        *("ray", "start", "--head", "--block", "--num-cpus=4", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
        *("--include-dashboard=false", "--include-log-monitor=false", "--object-store-memory=100000000", *ports),
    ]
    node = next(filter(None, (_start_node(command, folder / "start.log") for _ in range(TRIES))), None)
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


def _start_node(command: list[str], log: Path) -> subprocess.Popen[bytes] | None:
    with log.open("w") as output:
        node = subprocess.Popen(command, stdout=output, stderr=output)
    wait_until(lambda: node.poll() is not None or "will now block forever" in log.read_text(), PATIENCE_SECONDS)
    if node.poll() is None and "will now block forever" in log.read_text():
        return node
    node.terminate()
    node.wait()
    return None


def deploy(count: int, folder: Path, targets: Path) -> None:
    """Submit deploy/ray/serve.yaml, changed to `count` CPU replicas, and wait until they run."""
    configuration = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    configuration["http_options"] |= {"host": "127.0.0.1", "port": 8000, "request_timeout_s": PATIENCE_SECONDS}
    (application,) = configuration["applications"]
    application["args"] |= {"min_replicas": count, "max_replicas": count, "gpus": 0, "cpus": 1}
    application["args"] |= {"metrics_host": "127.0.0.1", "metrics_port": METRICS_PORT, "metrics_targets": str(targets)}
    deadline = str(1000 * PATIENCE_SECONDS)
    variables = {"ACT_DETR_DEVICE": "cpu", "ACT_DETR_THREADS": "1", "ACT_DETR_DEADLINE_MS": deadline}
    application["runtime_env"]["env_vars"] |= variables
    changed = folder / "serve.yaml"
    changed.write_text(yaml.safe_dump(configuration))
    address = f"--address=127.0.0.1:{FIRST_RAY_PORT}"
    done = subprocess.run(["serve", "run", address, "--non-blocking", changed], capture_output=True, text=True)
    expect(done.returncode == 0, "serve run --non-blocking serve.yaml" + (done.stderr if done.returncode else ""))
    expect(wait_until_ready(URL, PATIENCE_SECONDS) is not None, "the application answers")
    expect(wait_until(lambda: len(images(targets)) == count, PATIENCE_SECONDS), f"replicas: {len(images(targets))}")


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
    return [pid for pid in named if _is_below(pid, os.getpid(), parents)]


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid > 1 and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def images(targets: Path) -> dict[str, float]:
    """Return the number of images that each replica has answered, by the address in its target file."""
    counts = {}
    for file in sorted(targets.glob("*.json")):
        target = json.loads(file.read_text())[0]["targets"][0]
        try:
            rows = httpx.get(f"http://{target}/metrics", timeout=20, trust_env=False).text.splitlines()
        except httpx.TransportError:
            continue  # it died, and its replacement is not up yet
        counts[target] = sum(float(row.split()[-1]) for row in rows if row.startswith("act_detr_images_total{"))
    return counts
