"""A demonstration in a minute: the service starts, detects in every attention mode, shows its metrics and stops.

It ends with what attention costs on this machine: a table of both embedded models.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deploy.comparison import ROUNDS, compare, saved, table
from deploy.local_server import SAMPLE_PAGE, LocalServer

SMALL, LARGE = "pages-small", "pages-large"
PICTURE = "demo-detections.png"
SHOWN_METRICS = (
    "act_detr_images_total{",
    "act_detr_clusters_count{",
    "act_detr_clusters_sum{",
    "act_detr_stage_duration_seconds_sum{",
)
QUERIES = (
    {"attention": "exact"},
    {"attention": "act"},
    {"attention": "tangent", "C": "16"},
    {"attention": "merge", "ratio": "0.5"},
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demonstration; exits with an error if any step of it fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(), help="folder for the picture (default: this one)")
    picture = parser.parse_args(argv).folder / PICTURE
    console = Console()
    with LocalServer(LOG_LEVEL="warning", MODEL=SMALL) as small, LocalServer(LOG_LEVEL="warning", MODEL=LARGE) as large:
        console.print(f"[bold]Starting the service[/] with {SMALL} on {small.url} and with {LARGE} on {large.url}")
        for server in (small, large):
            server.wait_until_ready()
        with _client(small) as one, _client(large) as other:
            show(console, one, picture)
            show_costs(console, {SMALL: one, LARGE: other})
        statuses = [server.stop() for server in (small, large)]
    console.print(f"[bold]Stopped[/] (exit status {', '.join(map(str, statuses))})")
    if not {0, -signal.SIGTERM}.issuperset(statuses):
        raise SystemExit(f"the services ended with status {', '.join(map(str, statuses))}")


def _client(server: LocalServer) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=60, trust_env=False)


def show_costs(console: Console, clients: Mapping[str, httpx.Client]) -> None:
    """Measure both models with every attention mode, and say what the others saved with the large one."""
    console.print(f"\nMeasuring {ROUNDS} requests of each kind, in turns ...")
    rows = compare(clients, SAMPLE_PAGE.read_bytes())
    console.print(table(rows))
    console.print(f"[bold]{saved(rows, LARGE)}[/]\n")


def show(console: Console, client: httpx.Client, picture: Path) -> None:
    """Detect on the sample page in every attention mode, then print some of the metrics."""
    page = SAMPLE_PAGE.read_bytes()
    for query in QUERIES:
        response = client.post("/detect", params=query, content=page, headers={"content-type": "image/jpeg"})
        print_result(console, response.raise_for_status().json())
    headers = {"content-type": "image/jpeg", "accept": "image/png"}
    drawn = client.post("/detect", params=QUERIES[1], content=page, headers=headers)
    picture.write_bytes(drawn.raise_for_status().content)
    console.print(f"The page with ACT's boxes: [bold]{picture}[/]\n")
    metrics = client.get("/metrics").raise_for_status().text.splitlines()
    console.print("[bold]From /metrics[/]")
    for line in metrics:
        if line.startswith(SHOWN_METRICS) and not line.endswith(" 0.0"):
            print(line)


def print_result(console: Console, result: dict[str, Any]) -> None:
    """Print the detections, clusters and cost of one result."""
    attention = result["attention"]
    options = {name: attention[name] for name in ("L", "r", "C", "ratio") if attention[name] is not None}
    settings = "".join(f" {name}={value:g}" for name, value in options.items())
    sides = ("xmin", "ymin", "xmax", "ymax")
    table = Table("label", "score", *sides, title=f"attention={attention['mode']}{settings}")
    for row in result["detections"]:
        table.add_row(row["label"], f"{row['score']:.2f}", *(f"{row['box'][side]:.0f}" for side in sides))
    console.print(table)
    clusters = "  ".join(f"{layer['mean']:.0f}" for layer in attention["clusters"])
    if clusters:
        console.print(f"clusters by layer, mean of the heads: {clusters}  of {attention['tokens']} tokens")
    if attention["merged_tokens"] is not None:
        console.print(f"tokens after merging: {attention['merged_tokens']} of {attention['tokens']}")
    console.print(
        f"encoder: {attention['encoder_gflops']:.3f} G multiply-adds (exact: {attention['exact_encoder_gflops']:.3f}); "
        f"answered in {result['timing_ms']['total']:.0f} ms\n"
    )


if __name__ == "__main__":
    main()
