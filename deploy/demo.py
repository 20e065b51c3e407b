"""The service, seen from outside in a minute: it starts, detects with every kind of attention, tells metrics, stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

PICTURE = Path("demo-detections.png")
SHOWN_METRICS = (
    "act_detr_images_total{",
    "act_detr_clusters_count{",
    "act_detr_clusters_sum{",
    "act_detr_stage_duration_seconds_sum{",
)
QUERIES = ({"attention": "exact"}, {"attention": "act"}, {"attention": "tangent", "C": "16"})


def main() -> None:
    """Run the demonstration; exits with an error if any step of it fails."""
    console = Console()
    port = free_port()
    own = {"ACT_DETR_HOST": "127.0.0.1", "ACT_DETR_PORT": str(port), "ACT_DETR_LOG_LEVEL": "warning"}
    console.print(f"[bold]Starting the service[/] on http://127.0.0.1:{port} with the embedded model")
    server = subprocess.Popen([sys.executable, "-m", "service"], env=os.environ | own)  # our own interpreter
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_until_ready(client, server)
            show(console, client)
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)
    console.print(f"[bold]Stopped[/] (exit status {status})")
    if status not in (0, -signal.SIGTERM):
        raise SystemExit(f"the service ended with status {status}")


def show(console: Console, client: httpx.Client) -> None:
    """Detect on the sample page with every kind of attention, then print some of the metrics."""
    page = resources.files("models").joinpath("pretrained", "sample-page.jpg").read_bytes()
    for query in QUERIES:
        answer = client.post("/detect", params=query, content=page, headers={"content-type": "image/jpeg"})
        answer.raise_for_status()
        print_answer(console, answer.json())
    headers = {"content-type": "image/jpeg", "accept": "image/png"}
    drawn = client.post("/detect", params=QUERIES[1], content=page, headers=headers)
    PICTURE.write_bytes(drawn.raise_for_status().content)
    console.print(f"The page with ACT's boxes: [bold]{PICTURE}[/]\n")
    metrics = client.get("/metrics").raise_for_status().text.splitlines()
    console.print("[bold]From /metrics[/]")
    for line in metrics:
        if line.startswith(SHOWN_METRICS) and not line.endswith(" 0.0"):
            print(line)


def print_answer(console: Console, answer: dict[str, Any]) -> None:
    """Detections, clusters and cost of one answer."""
    attention = answer["attention"]
    settings = "".join(f" {name}={attention[name]:g}" for name in ("L", "r", "C") if attention[name] is not None)
    table = Table("label", "score", "xmin", "ymin", "xmax", "ymax", title=f"attention={attention['mode']}{settings}")
    for found in answer["detections"]:
        box = found["box"]
        table.add_row(
            found["label"], f"{found['score']:.2f}", *(f"{box[side]:.0f}" for side in ("xmin", "ymin", "xmax", "ymax"))
        )
    console.print(table)
    clusters = "  ".join(f"{layer['mean']:.0f}" for layer in attention["clusters"])
    if clusters:
        console.print(f"clusters by layer, mean of the heads: {clusters}  of {attention['tokens']} tokens")
    console.print(
        f"encoder: {attention['encoder_gflops']:.3f} G multiply-adds (exact: {attention['exact_encoder_gflops']:.3f}); "
        f"answered in {answer['timing_ms']['total']:.0f} ms\n"
    )


def wait_until_ready(client: httpx.Client, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Return when /readyz says so. Raises SystemExit when the service ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"the service ended with status {server.returncode} before it was ready")
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the service was not ready after {seconds:.0f} s")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
