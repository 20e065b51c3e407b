"""What is sent, and when: images of mixed sizes, mixed attention, arrivals that wait for nobody's answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

SAMPLE_PAGE: Final = Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg"
SIZES: Final = ((1056, 816), (816, 1056), (600, 450), (400, 300), (1400, 1000), (320, 720))
"""Height and width of the generated pages, in pixels."""
QUERIES: Final = ("attention=exact", "attention=act", "attention=act&L=16&r=2", "attention=tangent", "attention=auto")

Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class Mix:
    """What callers send: an image, a query and a deadline in milliseconds, each drawn evenly."""

    images: tuple[bytes, ...]
    queries: tuple[str, ...] = QUERIES
    deadlines_ms: tuple[float, ...] = (30_000.0,)


@dataclass(frozen=True, slots=True)
class Phase:
    """`rate` calls a second for `seconds`."""

    name: str
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `due` at so many seconds from the start, whatever became of those before it.

    `chosen`: of the sample that calls again, after the time that a refusal names.
    """

    phase: str
    due: float
    path: str
    body: bytes
    deadline_ms: float
    chosen: bool = False


def mixed_images(seed: int = 0) -> tuple[bytes, ...]:
    """Return the sample page and a generated page of each of SIZES, as JPEG and PNG by turns."""
    from models.data.pages.page import render_page

    encoded = [SAMPLE_PAGE.read_bytes()]
    for index, (height, width) in enumerate(SIZES):
        buffer = BytesIO()
        render_page(seed + index, height, width).image.save(buffer, "JPEG" if index % 2 else "PNG")
        encoded.append(buffer.getvalue())
    return tuple(encoded)


def arrival_times(rate: float, seconds: float, kind: Arrivals, rng: random.Random) -> Iterator[float]:
    """Yield times in [0, seconds): every 1 / rate, or with exponential gaps of that mean. Raises ValueError."""
    if not (rate > 0 and seconds > 0):
        raise ValueError(f"rate and seconds must be above 0, not {rate} and {seconds}")
    count = 0
    at = rng.expovariate(rate) if kind == "poisson" else 0.0
    while at < seconds:
        yield at
        count += 1
        at = at + rng.expovariate(rate) if kind == "poisson" else count / rate


def draw(mix: Mix, rng: random.Random, phase: str = "", due: float = 0.0, chosen_share: float = 0.0) -> Call:
    """Return a call of the mix."""
    deadline = rng.choice(mix.deadlines_ms)
    path = f"/detect?{rng.choice(mix.queries)}&deadline_ms={deadline:g}"
    return Call(phase, due, path, rng.choice(mix.images), deadline, rng.random() < chosen_share)


def schedule(
    phases: Sequence[Phase], mix: Mix, seed: int, kind: Arrivals = "poisson", chosen_share: float = 0.0
) -> list[Call]:
    """Return the calls of the phases, one phase after the other; the same arguments give the same calls."""
    rng = random.Random(seed)
    calls, begins = [], 0.0
    for phase in phases:
        for at in arrival_times(phase.rate, phase.seconds, kind, rng):
            calls.append(draw(mix, rng, phase.name, begins + at, chosen_share))
        begins += phase.seconds
    return calls
