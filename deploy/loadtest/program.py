"""The frame of every program: common options, the service that is called, the environment of the results."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.loadtest.exchange import Target, now
from deploy.loadtest.load import Call, Mix, Outcome, mixed_images, open_loop
from deploy.loadtest.watch import Sample, model_card, server_counts, watch
from deploy.local_server import LocalServer

CALM: Final = 0.3
"""The share of the capacity that leaves a service calm."""


def options(description: str | None, *, capacity_seconds: float = 10.0, url: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that the programs share; `url`: it may call a service that runs already."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of generated pages")
    parser.add_argument("--query", action="append", help="a query to send, as `attention=act&L=16`")
    parser.add_argument("--deadline-ms", type=float, action="append", help="a deadline; drawn evenly (default 30000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--callers", type=int, default=8, help="callers of the closed loop that finds the capacity")
    parser.add_argument("--capacity-seconds", type=float, default=capacity_seconds, help="length of that loop")
    if url:
        parser.add_argument("--url", help="http://host:port of a running service; by default one is started")
        parser.add_argument("--api-key", default="", help="the key, where the service asks for one")
        parser.add_argument("--come-back", type=float, default=0.05, help="share of calls that heed Retry-After")
    return parser


def mix_of(arguments: argparse.Namespace) -> Mix:
    """Return the mix that the options ask for."""
    images = tuple(file.read_bytes() for file in arguments.image) if arguments.image else mixed_images(arguments.seed)
    mix = Mix(images)
    return Mix(images, tuple(arguments.query or mix.queries), tuple(arguments.deadline_ms or mix.deadlines_ms))


@contextmanager
def local_service() -> Iterator[LocalServer]:
    """Run a service with a JSON log, ready."""
    print("starting a service", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="act-detr-loadtest-") as folder,
        LocalServer(Path(folder, "service.log"), LOG_FORMAT="json", LOG_LEVEL="info") as server,
    ):
        server.wait_until_ready()
        yield server


@contextmanager
def service(url: str | None, api_key: str) -> Iterator[tuple[Target, LocalServer | None]]:
    """Give the service at the url or, without one, a local one."""
    if url is not None:
        yield Target.of(url, api_key), None
    else:
        with local_service() as server:
            yield Target.of(server.url), server


async def observe(
    target: Target, server: LocalServer | None, calls: Sequence[Call], *, every: float, progress: bool = False
) -> tuple[list[Outcome], list[Sample], Mapping[str, int] | None, int | None]:
    """Send the calls while the service is sampled; return what a Run has."""
    before, start = await server_counts(target), now() + 0.1
    async with watch(target, start, every, progress) as samples:
        outcomes = await open_loop(target, calls, start=start)
    if server is None:
        return outcomes, samples, None, None
    return outcomes, samples, await server_counts(target) - before, errors_logged(server)


def errors_logged(server: LocalServer) -> int:
    """Return the number of lines that tell of an error, or are not the service's."""
    return sum(line["level"] in ("error", "critical", "unreadable") for line in server.log_lines())


def machine() -> dict[str, Any]:
    """Return date, commit, command, processor and load."""
    import torch

    from models.measurement.environment import run_environment

    return {**run_environment(torch.device("cpu")), "cpus": len(os.sched_getaffinity(0))}


async def environment(target: Target) -> dict[str, Any]:
    """Return the machine, the settings and the model served: without them the results mean nothing."""
    card = await model_card(target)
    served = {name: card[name] for name in ("name", "version", "device", "precision", "default_deadline_ms", "limits")}
    settings = {name: value for name, value in os.environ.items() if name.startswith("ACT_DETR_") and "KEY" not in name}
    return {**machine(), "settings": settings, "served": served}
