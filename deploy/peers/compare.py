"""The service against other servers around the same detector: rates, latencies, goodput, CPU time and memory.

    python -m deploy.peers.compare [--quick] [--image FILE ...] [--server litserve:2 ...] [--output FILE]

Servers run one at a time, with all others stopped, on the same CPU threads, images, decoding and limits. Every server
has to answer what the service answers before it is measured. Rounds go through all servers, forwards and backwards by
turns, so that a slow spell of the machine hits all. In open loops calls come at Poisson times, at multiples of the
service's capacity, which its first closed loops find. The service is told the deadline of each call; a peer has it as
its own timeout where it has one. `name:N` runs N workers with their part of the threads each. A peer that is not
installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.loadtest.load import Mix
from deploy.loadtest.program import machine
from deploy.local_server import SAMPLE_PAGE
from deploy.peers.answers import Detection, all_detections, expect_same
from deploy.peers.contestants import INSTALL, OURS, Contestant, Limits, Running, running
from deploy.peers.measurement import Part, closed, figures, opened
from deploy.peers.settings import PeerSettings
from deploy.peers.tables import ratios, show
from models.measurement.results import write_results

SERVERS: Final = (OURS, "fastapi:2", "litserve:2", "bentoml:2", "ray:2")
"""Two workers of one thread each are what two cores serve most images with."""
QUERY: Final = "attention=exact"
PATIENT_MS: Final = 30_000.0
"""The deadline of closed loops, whose callers wait."""
Name = tuple[str, float]
"""A phase: `callers` and their number, or `load` and its multiple of the capacity."""


@dataclass(slots=True)
class Comparison:
    """The plan of a run, and what it has measured so far, by server and phase."""

    images: tuple[bytes, ...]
    limits: Limits
    callers: Sequence[int]
    loads: Sequence[float]
    closed_seconds: float
    open_seconds: float
    warm_up: float
    seed: int
    expected: list[list[Detection]] = field(default_factory=list)
    capacity: float = 0.0
    parts: dict[tuple[str, Name], list[Part]] = field(default_factory=dict)
    ready_s: dict[str, list[float]] = field(default_factory=dict)

    async def measure(self, contestant: Contestant, server: Running, round_: int) -> None:
        """Check a server's answers, warm it up, and run every phase. The service has to come first."""
        name = str(contestant)
        self.ready_s.setdefault(name, []).append(round(server.ready_s, 2))
        found = await all_detections(server.target, f"/detect?{QUERY}", self.images)
        self.expected = self.expected or found
        expect_same(name, self.expected, found)
        patient, urgent = self._mix(PATIENT_MS), self._mix(1e3 * self.limits.deadline_s)
        await closed(server, patient, max(self.callers), self.warm_up, self.seed)
        for count in self.callers:
            part = await closed(server, patient, count, self.closed_seconds, self.seed + round_)
            self._keep(name, ("callers", count), part)
        self.capacity = self.capacity or max(part.images_per_s for parts in self.parts.values() for part in parts)
        if not self.capacity:
            raise SystemExit("the service answered nothing while its capacity was measured")
        for load in self.loads:
            part = await opened(server, urgent, load * self.capacity, self.open_seconds, self.seed + round_)
            self._keep(name, ("load", load), part)

    def rows(self) -> list[dict[str, Any]]:
        """Return the figures of each phase and server, phase by phase."""
        phases: list[Name] = [*(("callers", count) for count in self.callers), *(("load", load) for load in self.loads)]
        measured = [(server, phase) for phase in phases for server, one in self.parts if one == phase]
        deadline = self.limits.deadline_s
        return [
            {"server": server, phase[0]: phase[1], **figures(self.parts[server, phase], deadline)}
            for server, phase in measured
        ]

    def _mix(self, deadline_ms: float) -> Mix:
        return Mix(self.images, (QUERY,), (deadline_ms,))

    def _keep(self, server: str, phase: Name, part: Part) -> None:
        self.parts.setdefault((server, phase), []).append(part)
        print(f"{server}, {phase[0]} {phase[1]:g}: {part.images_per_s:.2f} images/s", flush=True)


def contestants(names: Sequence[str]) -> list[Contestant]:
    """Return the servers that are installed, the service first, and say which are not."""
    chosen = [Contestant(OURS), *(one for one in map(Contestant.parse, names) if one.name != OURS)]
    for one in chosen:
        if not one.is_installed:
            print(f"{one} is left out, as {one.name} is not installed: {INSTALL}", flush=True)
    return [one for one in chosen if one.is_installed]


def run(arguments: argparse.Namespace) -> None:
    """Measure all servers in rounds, write the results and print them."""
    loads = [0.7, 2.0] if arguments.quick else [0.7, 1.0, 2.0]
    limits = Limits(arguments.threads, arguments.deadline_s, arguments.max_inflight)
    comparison = Comparison(
        images=tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]),
        limits=limits,
        callers=arguments.callers or ([1, 4] if arguments.quick else [1, 4, 8]),
        loads=loads if arguments.loads is None else arguments.loads,
        closed_seconds=arguments.closed_seconds or (2.5 if arguments.quick else 5.0),
        open_seconds=arguments.open_seconds or (5.0 if arguments.quick else 8.0),
        warm_up=1.0 if arguments.quick else 2.0,
        seed=arguments.seed,
    )
    servers, environment = contestants(arguments.server or SERVERS), machine()
    for round_ in range(arguments.rounds):
        for one in servers if round_ % 2 == 0 else reversed(servers):
            with running(one, limits) as server:
                asyncio.run(comparison.measure(one, server, round_))
    rows = comparison.rows()
    results = {
        "environment": environment,
        "versions": versions(servers),
        "settings": {**asdict(limits), "images": len(comparison.images), "rounds": arguments.rounds},
        "capacity_per_s": round(comparison.capacity, 3),
        "ready_s": comparison.ready_s,
        "rows": rows,
        "ratios": ratios(rows),
    }
    write_results(arguments.output, results)
    show(rows, limits.deadline_s)


def versions(servers: Sequence[Contestant]) -> dict[str, str]:
    """Return the versions of the peers' libraries."""
    from importlib.metadata import version

    return {one.name: version(one.name) for one in servers if one.name != OURS}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter phases")
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of the sample page")
    parser.add_argument("--server", action="append", help=f"a server to compare (default: {' '.join(SERVERS)})")
    parser.add_argument("--callers", type=int, nargs="+", help="callers at a time (default 1 4 8; quick: 1 4)")
    parser.add_argument("--loads", type=float, nargs="*", help="multiples of the capacity (0.7 1 2; quick: 0.7 2)")
    parser.add_argument("--closed-seconds", type=float, help="length of a closed loop (default 5; quick: 2.5)")
    parser.add_argument("--open-seconds", type=float, help="length of an open loop (default 8; quick: 5)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline-s", type=float, default=1.0, help="seconds within which an answer counts")
    defaults = PeerSettings()
    parser.add_argument("--threads", type=int, default=defaults.threads, help="CPU threads of the model, in all")
    parser.add_argument(
        "--max-inflight", type=int, default=defaults.max_inflight, help="requests that a peer takes at a time"
    )
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server that runs is stopped too
    run(arguments)


if __name__ == "__main__":
    main()
